"""sweeps.plan.audit: the plan is rebuilt from the spec, and every edit of it or of an outcome gives one line.

The same function judges a storage and an archive.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage import tables
from storage.db.engine import open_engine
from storage.db.transaction import write
from storage.errors import StorageError
from storage.url import resolve
from sweeps.contrib.archive.transfer import archive_sweep, import_sweep
from sweeps.contrib.archive.verify import verify
from sweeps.distill.arms import CONTROLS, SOURCE_ARMS, TARGET_ARMS
from sweeps.distill.presets import on
from sweeps.distill.space import SCALED
from sweeps.errors import SweepError
from sweeps.spec.model import Spec, fingerprint, override
from sweeps.usecases.steering import extend, retry
from sweeps.workers.runner import Outcome
from tests.support.old_storages import COMMITS, unpack
from tests.support.sweeps.archived_sweeps import edited
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import violations, work
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.trials_in_memory import copied, trials_in_memory

Row = dict[str, Any]
Edit = tuple[str, Callable[[list[Row]], Any]]  # a table, and a change of its rows
Kd = Callable[..., tuple[int, str, str]]


def with_curves(spec: Spec, claim: Any, params: Row, on_step: Callable[[], None]) -> Outcome:
    """Add an accuracy for each epoch that the spec asks for."""
    outcome = quadratic(claim, params, on_step)
    if not (role := claim.row.payload.get("role")) or claim.row.stage == "baselines":
        return outcome
    part = spec.role(role)
    epochs = part.teacher_epochs if claim.row.stage == "teachers" else params.get("epochs", part.epochs)
    if claim.row.payload.get("arm") == "autokeras":
        epochs = spec.baselines.autokeras_epochs
    curve = (*[None] * (epochs - 1), outcome.score)
    return replace(changed(outcome, epoch_val_accuracy=curve), epoch_values=curve)


def finished(url: str, spec: Spec = SMALL) -> sqlalchemy.URL:
    """Create a sweep of that spec and finish it."""
    created_url = created(url, spec)
    work(created_url, partial(with_curves, spec))
    return created_url


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    with trials_in_memory():
        archive_sweep(finished(f"sqlite:///{folder}/x.db"), "s", folder / "s.kdsweep")
    return folder


@pytest.fixture
def url(_made: Path, tmp_path: Path, in_memory: None) -> sqlalchemy.URL:
    """Return a finished sweep in its own storage, next to its archive."""
    shutil.copy(_made / "s.kdsweep", tmp_path)
    return copied(_made / "x.db", tmp_path / "x.db")


def differing(path: Path) -> list[str]:
    """Return the differences between an archive and its claims."""
    return [f"{check.what}: {check.differs}" for check in verify(path) if check.differs]


def edit(url: sqlalchemy.URL, table: str, change: Callable[[list[Row]], Any]) -> None:
    """Change rows of a table, as a user with SQL would."""
    rows = tables.metadata.tables[table]
    engine = open_engine(url)
    with write(engine) as connection:
        query = sqlalchemy.select(rows)
        records = [{column.key: row._mapping[column] for column in rows.c} for row in connection.execute(query)]
        before = json.dumps(records)
        change(records)
        for row, old in zip(records, json.loads(before), strict=True):
            if json.loads(json.dumps(row)) != old:
                key = sqlalchemy.and_(*(column == old[column.key] for column in rows.primary_key))
                connection.execute(sqlalchemy.update(rows).where(key).values(row))
    engine.dispose()


def _of(rows: list[Row], key: str) -> Row:
    return next(row for row in rows if key in (row.get("key"), row.get("name")))


def payload(key: str, **values: Any) -> Edit:
    return "tasks", lambda rows: _of(rows, key)["payload"].update(values)


def outcome(key: str, **values: Any) -> Edit:
    return "tasks", lambda rows: _of(rows, key)["outcome"].update(values)


def phase(name: str, **values: Any) -> Edit:
    return "phases", lambda rows: _of(rows, name).update(values)


def _all_seeds(rows: list[Row]) -> None:
    for row in rows:
        if row["key"].startswith("transfer"):
            row["payload"]["seed"] = row["outcome"]["seed"] = 7


def _spec(rows: list[Row], *, change: Mapping[str, Any]) -> None:
    """Change a spec and its fingerprint."""
    for row in rows:
        for dotted, value in change.items():
            table, _, key = dotted.rpartition(".")
            (row["spec"][table] if table else row["spec"])[key] = value
        row["fingerprint"] = fingerprint(row["spec"])


def spec(**change: Any) -> list[Edit]:
    dotted = {key.replace("__", "."): value for key, value in change.items()}
    return [(table, partial(_spec, change=dotted)) for table in ("sweeps", "revisions")]


def wrong(make_edit: Callable[..., Edit], key: str, values: Row, expected: str, actual: str) -> tuple[Edit, str]:
    """Return an edit to a possible value, and the line that says what was planned."""
    begins = "outcome of " if make_edit is outcome else ""
    return make_edit(key, **values), rf"{begins}{re.escape(key)}: expected {expected} as planned, found {actual}"


def broken(make_edit: Callable[..., Edit], key: str, values: Row, why: str) -> tuple[Edit, str]:
    """Return an edit to an impossible value, and the line that says why."""
    return make_edit(key, **values), rf"the stored {make_edit.__name__} of {re.escape(key)} was edited: {why}"


NATIVE, NEEDS = "transfer#target.native.0", ["teachers:source", "lag:1:2"]
# The edits of one list are made together: each gives one line, and none hides another.
TOGETHER: dict[str, list[tuple[Edit, str]]] = {
    "points and seeds": [
        wrong(payload, "search#0", {"temperature": 3.0}, r"temperature 6\.79\d+", r"3\.0"),
        wrong(outcome, "search#3", {"alpha": 0.5}, r"alpha 0\.\d+", r"0\.5"),
        wrong(outcome, "confirm#0.0", {"seed": 5}, r"seed \d+", "5"),
        wrong(phase, "teachers:source", {"needs": ["measure"]}, r"needs \[\]", r"\['measure'\]"),
        wrong(phase, "search", {"minimum": 0}, "minimum 1", "0"),
    ],
    "accuracies": [
        wrong(payload, "native.search#0", {"temperature": 6.795004901884}, r"temperature 6\.79\d+", r"6\.795004901884"),
        wrong(outcome, "transfer#source.scratch.0", {"alpha": 0.5}, r"alpha 1\.0", r"0\.5"),
        wrong(outcome, NATIVE, {"test_accuracy": None}, "test_accuracy a number", "None"),
        wrong(outcome, "search#2", {"epoch_val_accuracy": []}, "accuracies after epochs 4", "0"),
        wrong(outcome, "search#1", {"epoch_val_accuracy": [0.1, None, None, 0.5]}, r"last accuracy 0\.\d+", r"0\.5"),
        wrong(outcome, "search#0", {"epoch_val_accuracy": [0.7125254923047617]}, "number of epochs 4", "1"),
        wrong(
            outcome,
            "confirm#0.0",
            {"val_accuracy": 0.5, "epoch_val_accuracy": [0.5] * 4},
            r"val_accuracy 0\.8\d+",
            r"0\.5",
        ),
        wrong(phase, "search", {"needs": NEEDS}, r"needs \['teachers:source', 'lag:8:2'\]", re.escape(str(NEEDS))),
    ],
    "impossible values": [
        wrong(outcome, "search#1", {"temperature": 19.0}, r"temperature 4\.1\d+", r"19\.0"),
        wrong(payload, "native.search#1", {"role": "target3"}, "role target", "target3"),
        broken(payload, "search#0", {"temperature": 10**400}, ".*temperature.*"),
        broken(payload, "native.search#0", {"rank": 1}, "it has an unknown field 'rank'"),
        broken(outcome, NATIVE, {"test_accuracy": 1.7}, r"test_accuracy is 1\.7 \(allowed: 0 to 1\)"),
        broken(outcome, "transfer#target.best.0", {"test_accuracy": float("nan")}, r"test_accuracy is nan \(.*\)"),
        broken(outcome, "search#2", {"epoch_val_accuracy": [0.1, 2.0]}, r"epoch_val_accuracy\.1\S* is 2\.0 \(.*\)"),
        (
            ("tasks", lambda rows: _of(rows, "native.search#2").update(payload=[])),
            r"native\.search#2: expected a payload as planned, found \[\]",
        ),
    ],
}
ALONE: dict[str, tuple[list[Edit], str]] = {
    "seeds": (
        [("tasks", _all_seeds)],
        r"transfer#source\.best\.0: expected seed \d+ .*, found 7; 3 more tasks likewise",
    ),
    "the seed": (spec(seed=99), r"teachers#source: expected seed \d+ as .*, found \d+; 16 more tasks likewise"),
    "epochs": (spec(source__epochs=100), r"outcome of search#0: expected number of epochs 100 as .*; 6 more tasks .*"),
    "trials": (spec(search__trials=5), r"search: expected needs \[.*'lag:8:3'\] as planned, found \[.*'lag:8:2'\]"),
    "fewer trials": (
        spec(search__trials=3),
        r"search: expected minimum .*|search: expected task none .*, found search#3",
    ),
    "no trials": (spec(search__trials=0), r"revision 1: search\.trials: got 0; .*"),
    "the teacher": (
        spec(source__teacher="cnn-medium"),
        r"parameters of teachers#source: expected model cnn-medium as planned, found .*",
    ),
    "the order of the trials": (
        [("tasks", lambda rows: _of(rows, "search#0").update(ordinal=1000))],
        r"search: expected task search#0 as planned, found search#1",
    ),
    "the key of a task": (
        [("tasks", lambda rows: _of(rows, "search#3").update(key="search#9"))],
        r"search: expected task search#3 as planned, found search#9",
    ),
}


def of_plan(url: sqlalchemy.URL) -> list[str]:
    """Return the audit's violations, without those of trials and selections that follow from an edit."""
    return [text for text in violations(url) if not text.startswith(("trial ", "selection "))]


@pytest.mark.parametrize("edits", TOGETHER.values(), ids=TOGETHER)
def test_each_edit_gives_one_line(url: sqlalchemy.URL, edits: list[tuple[Edit, str]]) -> None:
    for (table, change), _ in edits:
        edit(url, table, change)
    lines = of_plan(url)
    for _, line in edits:
        assert sum(re.fullmatch(line, text) is not None for text in lines) == 1, "\n".join([line, *lines])
    assert len(lines) == len(edits), lines


@pytest.mark.parametrize("name", ALONE)
def test_an_edit_that_changes_the_whole_plan_is_named_first(url: sqlalchemy.URL, name: str) -> None:
    edits, line = ALONE[name]
    for table, change in edits:
        edit(url, table, change)
    lines = of_plan(url)
    assert re.fullmatch(line, lines[0]), lines
    # Another spec can change several phases of the plan, and the trial of a renamed task has its old name.
    assert len(lines) == 1 or edits[0][0] == "sweeps" or name == "the key of a task"


@pytest.mark.parametrize("name", ["seeds", "the seed"])
def test_verify_reports_what_the_audit_reports_and_import_refuses_it(url: sqlalchemy.URL, name: str) -> None:
    edits, line = ALONE[name]
    folder = Path(str(url.database)).parent
    file = folder / "s.kdsweep"
    for table, change in edits:
        file = edited(file, "sweep.jsonl" if table == "sweeps" else f"{table}.jsonl", change)
    lines = differing(file)
    assert [text for text in lines if re.fullmatch(f"audit: {line}", text)], lines
    with pytest.raises((StorageError, SweepError)) as error:
        import_sweep(resolve(f"sqlite:///{folder}/there.db"), file)
    assert "\n" not in str(error.value)
    assert not (folder / "there.db").exists()


@pytest.mark.parametrize(("number", "refused"), [(105, False), (9_999, True)])
def test_verify_and_import_agree_on_the_number_of_a_trial(url: sqlalchemy.URL, number: int, refused: bool) -> None:
    def change(rows: list[Row]) -> None:
        last = [row for row in rows if row["study"] == "s"][-1]
        last["trial_number"] = number

    folder = Path(str(url.database)).parent
    file, new_url = edited(folder / "s.kdsweep", "attempts.jsonl", change), resolve(f"sqlite:///{folder}/there.db")
    differences = differing(file)
    if not refused:
        assert differences == []
        with trials_in_memory():
            import_sweep(new_url, file)
            assert violations(new_url) == []
        return
    (line,) = differences
    assert f"4 attempts name trials of study s, with numbers up to {number:,}; allowed: numbers up to 107" in line
    with pytest.raises(StorageError, match=f"with numbers up to {number:,}; allowed"):
        import_sweep(new_url, file)
    assert not (folder / "there.db").exists()


UNMEASURED = [arm for arm in CONTROLS if arm != "scratch-same-cost"]  # only the real runner counts its epochs
EVERYTHING = {
    "transfer.source_arms": [*SOURCE_ARMS, *UNMEASURED],
    "transfer.target_arms": [*TARGET_ARMS, *UNMEASURED, SCALED, "autokeras"],
    "baselines.methods": ["autokeras", "mobilenet"],
    "baselines.source_methods": ["mobilenet"],
}
ROUNDS = {"confirm.rounds": [[2, 1], [1, 1]], "outer.searches": 2, "outer.rounds": [[2, 1], [1, 1]], "outer.trials": 3}
SPACE = {"learning_rate": [0.001, 0.01], "epochs": [2, 4], "batch_size": [16, 64], "nontarget_weight": [1, 8]}
FURTHER = {"training.distillation": "dkd", "search.space": SPACE}
SPECS = {
    "every arm, rounds, searches and further parameters": override(SMALL, EVERYTHING | ROUNDS | FURTHER),
    "one dataset": override(on(SMALL, alone=True), {"transfer.source_arms": ["best", "scratch", "default-keras"]}),
    "targets and teachers": override(
        on(SMALL, targets=["digits-rgb", "mnist", "fashion_mnist"]),
        {"transfer.other_seeds": 1, "outer.teachers": 2, "outer.searches": 2, "outer.seeds": 2},
    ),
    "qmc": override(SMALL, {"search.sampler": "qmc"}),
    "random": override(
        SMALL, {"search.sampler": "random", "search.lag": 1, "source.teacher": "pretrained:mobilenetv2"}
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_sweeps_of_every_kind_are_as_planned(tmp_path: Path, in_memory: None, name: str) -> None:
    url = created(f"sqlite:///{tmp_path}/x.db", SPECS[name])
    assert violations(url) == []
    for extension in ({"trials": 2, "seeds": 1}, {"searches": 1}, {"seeds": 2}):
        assert extend(url, "s", **extension).tasks > 0
    assert violations(url) == []


def test_a_sweep_with_a_retry_and_an_extension_is_as_planned(tmp_path: Path) -> None:
    """A task failed and was retried after everything was measured, and seeds were added later."""
    sweep, *_ = SPECS.values()

    def run(claim: Any, params: Row, on_step: Callable[[], None]) -> Outcome:
        if claim.key == "transfer#source.best.0" and claim.row.attempt <= 2:
            raise ValueError("not yet")
        result = with_curves(sweep, claim, params, on_step)
        return changed(result, logit_spread=2.0) if claim.row.stage == "teachers" else result

    with trials_in_memory():
        url = created(f"sqlite:///{tmp_path}/x.db", sweep)
        work(url, run)
        assert retry(url, "s") == ["transfer#source.best.0"]
        assert extend(url, "s", seeds=1).tasks > 0
        work(url, run)
        assert violations(url) == []
    archive_sweep(url, "s", tmp_path / "s.kdsweep")
    assert differing(tmp_path / "s.kdsweep") == []


@pytest.mark.parametrize("version", COMMITS)
def test_sweeps_of_older_versions_are_as_planned(tmp_path: Path, version: int, kd_sweeps: Kd) -> None:
    url = unpack(version, tmp_path / "kd-sweeps.db")
    assert kd_sweeps("storage", "upgrade")[0] == 0
    assert violations(url, "old") == []
    if version == 1:  # the others have used their only look
        archive_sweep(url, "old", tmp_path / "old.kdsweep")
        assert differing(tmp_path / "old.kdsweep") == []
        assert extend(url, "old", seeds=1, searches=2).tasks > 0
        assert violations(url, "old") == []


def test_a_waiting_task_must_have_the_stage_of_its_phase(tmp_path: Path, in_memory: None) -> None:
    url = created(f"sqlite:///{tmp_path}/x.db")
    edit(url, "tasks", lambda rows: _of(rows, "search#0").update(stage="native"))
    assert violations(url) == ["search#0: expected stage search as planned, found native"]


def test_a_revision_that_is_not_an_extension_is_a_violation(url: sqlalchemy.URL) -> None:
    extend(url, "s", seeds=1)

    def change(rows: list[Row]) -> None:
        _spec(rows[-1:], change={"transfer.margin": 2.0})

    for table in ("sweeps", "revisions"):
        edit(url, table, change)
    (line,) = violations(url)
    assert line == "the spec of revision 2 is not that of an extension: transfer.margin: 1.0 -> 2.0"


def test_a_stored_score_that_is_not_a_number_gives_a_one_line_error_in_every_command(
    url: sqlalchemy.URL, kd_sweeps: Kd
) -> None:
    execute(url, "UPDATE tasks SET score = 'nan' WHERE key = 'search#1'")
    (line,) = violations(url)
    assert line.startswith("search#1: expected one value, found score nan, ")
    for command in ("report", "best", "status", "trials"):
        code, out, err = kd_sweeps(command, "s", "--storage", str(url))
        assert (code, out, err) == (
            1,
            "",
            "kd-sweeps: the stored score of search#1 was edited: it is 'nan', not a number\n",
        ), command

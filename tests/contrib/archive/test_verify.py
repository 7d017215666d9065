"""sweeps.contrib.archive.verify: an unedited archive verifies, and every edit is found."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.errors import ArchiveBroken
from sweeps.contrib.archive.transfer import archive_sweep
from sweeps.contrib.archive.verify import fact_checks, verify
from sweeps.distill.cost import Macs, equal_cost_epochs
from sweeps.plan import jobs, phases
from sweeps.spec.model import override
from sweeps.usecases.steering import extend, retry
from sweeps.workers.runner import Outcome
from tests.support.sweeps import builders
from tests.support.sweeps.archived_sweeps import edited, lived, members, packed
from tests.support.sweeps.planted_sweeps import PLANTED, work
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import KdSweeps

Lines = list[dict[str, Any]]

# Several searches, two rounds of confirm: selections of every kind.
ROUNDS = override(
    PLANTED,
    {
        "confirm.rounds": [[3, 1], [2, 2]],
        "outer.searches": 2,
        "outer.rounds": [[2, 1], [1, 1]],
        "transfer.seeds": 2,
        "transfer.target_arms": ["best", "scratch-own", "scratch", "native", "random"],
    },
)


@pytest.fixture(scope="module", autouse=True)
def _trials_in_memory() -> Iterator[None]:
    with trials_in_memory():
        yield


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    archive_sweep(lived(f"sqlite:///{folder}/x.db", ROUNDS), "s", folder / "s.kdsweep")
    return folder / "s.kdsweep"


@pytest.fixture
def file(_made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(_made, tmp_path))


def differing(path: Path) -> list[str]:
    return [f"{check.what}: {check.differs}" for check in verify(path) if check.differs]


def test_an_unedited_archive_verifies(file: Path) -> None:
    checks = verify(file)
    assert [check for check in checks if check.differs] == []
    text = "\n".join(check.what for check in checks)
    for what in ("tasks.jsonl ", "blob ", "audit: ", "verdict on digits-rgb: ", "answer hash "):
        assert what in text
    for name in (
        *("search.ranks", "confirm.ranks:1", "confirm.best", "native.best", "native.confirm.ranks:1@t0s1"),
        "recipes.best:target",
    ):
        assert f"selection {name}" in text.splitlines()


def _of(lines: Lines, key: str) -> dict[str, Any]:
    return next(line for line in lines if key in (line.get("key"), line.get("name"), line.get("task")))


def _change(name: str, change: Callable[[dict[str, Any]], Any], lines: Lines) -> None:
    change(_of(lines, name)["value"])


def _score(lines: Lines) -> None:
    _of(lines, "search#3")["score"] -= 0.2


def _score_everywhere(lines: Lines) -> None:
    """Edit the score in the outcome as well, so that the two agree."""
    line = _of(lines, "search#3")
    line["score"] = line["outcome"]["val_accuracy"] = line["outcome"]["trial"]["value"] = 0.99


def _test_accuracy(lines: Lines) -> None:
    for line in lines:
        if line["key"].startswith("transfer") and ".native." in line["key"]:
            line["outcome"]["test_accuracy"] = 0.1 + line["outcome"]["test_accuracy"] / 100


def _confirmed(lines: Lines) -> None:
    _of(lines, "confirm.best")["value"]["mean"] -= 0.01


def _chosen(lines: Lines) -> None:
    _of(lines, "recipes.best:target")["value"]["more"]["learning_rate"] *= 2


def _another_point(lines: Lines) -> None:
    ranks = _of(lines, "search.ranks")["value"]["ranks"]
    ranks[0], ranks[1] = ranks[1], ranks[0]


def test_a_removed_selection_that_a_task_used_is_found(file: Path) -> None:
    names = {line["name"] for line in map(json.loads, members(file)["selections.jsonl"].splitlines())}
    assert len(names) > 5
    differences = differing(edited(file, "selections.jsonl", lambda lines: lines.clear()))
    missing = {text.split(": it is missing, and ")[0] for text in differences if ": it is missing, and " in text}
    assert missing == {f"selection {name}" for name in names}
    (found_,) = differing(edited(file, "selections.jsonl", lambda lines: lines.remove(_of(lines, "native.best"))))
    assert found_ == "selection native.best: it is missing, and transfer#target.native.0 was trained with it"


KEPT = "transfer#source.best.0"
MODELS = {"teachers#source": b"t" * 70, KEPT: b"s" * 50}


@pytest.fixture
def measured(file: Path) -> Path:
    """Return an archive with two models and their measurements."""
    digests = {key: hashlib.sha256(data).hexdigest() for key, data in MODELS.items()}

    def add(lines: Lines) -> None:
        models: dict[str, Any] = {}
        for key, data in MODELS.items():
            outcome = _of(lines, key)["outcome"]
            outcome.setdefault("blobs", {})["model"] = digests[key]
            models[key] = {"name": key, "parameters": 1, "bytes": len(data), "latency_ms_p50": 0.5}
            models[key]["test_accuracy"] = outcome.get("test_accuracy", 0.9)
        _of(lines, "measure#all")["outcome"]["models"] = models

    path = edited(file, "tasks.jsonl", add)
    return packed(path, members(path) | {f"blobs/{digests[key]}": data for key, data in MODELS.items()})


def test_values_that_contradict_the_scores_are_found(measured: Path) -> None:
    assert differing(measured) == []

    def change(lines: Lines) -> None:
        models = _of(lines, "measure#all")["outcome"]["models"]
        models[KEPT].update(bytes=7, test_accuracy=0.9999, parameters=2)
        models |= {"search#0": models[KEPT], "x": models[KEPT]}
        _of(lines, "transfer#target.best.1")["outcome"]["parameters"] = 9

    differences = differing(edited(measured, "tasks.jsonl", change))
    for message in (
        "of transfer#source.best.0: it says 7 bytes, and the",
        "it says test accuracy 0.9999, and the",
        "it says 2 parameters, and the training 1",
        "search#0: that training kept no model",
        "measure#all of x: that training is missing",
        "it says 9 parameters, and native.search#0, of",
    ):
        assert any(message in text for text in differences), (message, differences)


@pytest.mark.parametrize(
    ("model", "key", "value"), [("teachers#source", "test_accuracy", 1.2), (KEPT, "latency_ms_p95", -1.0)]
)
def test_an_impossible_measurement_is_named(measured: Path, model: str, key: str, value: float) -> None:
    def change(lines: Lines) -> None:
        _of(lines, "measure#all")["outcome"]["models"][model][key] = value

    differences = differing(edited(measured, "tasks.jsonl", change))
    assert any(f"models.{model}.{key} is {value} (" in text for text in differences), differences


@pytest.mark.parametrize(("digest", "accuracy", "problems"), [("0a", 0.9, 1), ("0a", 0.8, 0), ("0b", 0.9, 0)])
def test_the_last_measurement_keeps_earlier_scores_unless_a_model_was_remade(
    monkeypatch: pytest.MonkeyPatch, digest: str, accuracy: float, problems: int
) -> None:
    monkeypatch.setattr(phases, "_SCORED_ALONE", SMALL.transfer.rule)
    scored = {"digest": digest, "test_accuracy": accuracy}
    timed = {"latency_ms_p50": 0.4, "test_accuracy": 0.8, "int8_test_images": 0, "int8_reason": ""}

    def run(claim: jobs.AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        if isinstance(claim.work, jobs.TeacherTask):
            return changed(outcome, blobs={"model": "0a"})
        if isinstance(claim.work, jobs.ScoreTask | jobs.MeasureTask):
            model = scored if isinstance(claim.work, jobs.ScoreTask) else timed
            values = jobs.read_outcome(claim.work, {"models": {"teachers#source": model}})
            return Outcome(score=0.8, values=values, attrs={})
        return outcome

    differences = [check for check in fact_checks(builders.stored(SMALL, run), {}) if check.differs]
    assert [(check.what, check.differs) for check in differences] == problems * [
        ("measure#accuracy of teachers#source", "it says test_accuracy 0.9, and the last measurement 0.8")
    ]


def _less(lines: Lines) -> None:
    lines.pop()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tasks.jsonl", _score, ["audit: search#3: expected one value", "selection search.ranks: ", "answer hash "]),
        ("tasks.jsonl", _score_everywhere, ["selection search.ranks: the scores give ", "answer hash "]),
        ("tasks.jsonl", _test_accuracy, ["verdict on digits-rgb: ", "answer hash "]),
        ("tasks.jsonl", _less, ["audit: measure: expected 1 tasks as planned, found 0"]),
        ("selections.jsonl", _confirmed, ["selection confirm.best: the scores give temperature "]),
        ("selections.jsonl", _chosen, ["selection recipes.best:target: the scores give temperature "]),
        ("selections.jsonl", _another_point, ["selection search.ranks: the scores give temperature "]),
        ("sweep.jsonl", lambda lines: lines[0]["spec"].update(seed=9), ["audit: the spec of the sweep was changed: "]),
        ("revisions.jsonl", lambda lines: lines[0]["planned"].update(search=9), ["audit: search: expected 9 tasks"]),
    ],
)
def test_an_edit_is_found_under_a_recomputed_manifest(
    file: Path, name: str, change: Callable[[Lines], Any], message: list[str]
) -> None:
    if change is _less:  # otherwise the lines of its attempts would be refused first
        file = edited(file, "attempts.jsonl", lambda lines: lines.pop())
    differences = differing(edited(file, name, change))
    for text in message:
        assert any(line.startswith(text) for line in differences), (text, differences)
    assert not any(line.startswith(f"{name} ") for line in differences)


def test_under_the_old_manifest_the_file_is_named_as_well(file: Path) -> None:
    differences = differing(edited(file, "tasks.jsonl", _score, sealed=False))
    for text in ("tasks.jsonl ", "audit: search#3: expected one value"):
        assert any(line.startswith(text) for line in differences), (text, differences)


def test_swapped_missing_and_extra_blobs_are_found(file: Path) -> None:
    files = members(file)
    first, second, *_ = [name for name in files if name.startswith("blobs/")]
    x = file.with_name("x.kdsweep")
    (differences,) = differing(packed(x, files | {first: files[second]}))
    assert differences.startswith(f"blob {first[6:18]} of teachers#")
    assert "it was changed: its SHA-256 is " in differences
    (differences,) = differing(packed(x, {name: data for name, data in files.items() if name != first}))
    assert differences.endswith(": it is missing")
    (differences,) = differing(packed(x, files | {f"blobs/{'0' * 64}": b"x"}))
    assert differences == "blob 000000000000: no task names it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.update(answer_hash="0" * 12), "answer hash 000000000000: the tasks give "),
        (lambda manifest: manifest["verdicts"][0].update(word="FLAT"), "verdict on digits-rgb: FLAT, "),
        (lambda manifest: manifest["verdicts"][0].update(low=-0.5), "verdict on digits-rgb: "),
        (lambda manifest: manifest["verdicts"].clear(), "verdict on digits-rgb: the file claims none, the scores give"),
    ],
)
def test_a_changed_claim_is_found(file: Path, change: Callable[[Any], Any], message: str) -> None:
    files = members(file)
    manifest = json.loads(files["manifest.json"])
    change(manifest)
    (differences,) = differing(packed(file, files | {"manifest.json": json.dumps(manifest).encode()}))
    assert differences.startswith(message)


def test_a_manifest_without_a_hash_is_refused(file: Path) -> None:
    files = members(file)
    manifest = json.loads(files["manifest.json"])
    del manifest["files"]["tasks.jsonl"]
    with pytest.raises(ArchiveBroken, match=r"needs a hash of each of sweep\.jsonl, "):
        verify(packed(file, files | {"manifest.json": json.dumps(manifest).encode()}))


@pytest.mark.parametrize("stop_at", ["search#2", "transfer"])
def test_an_unfinished_sweep_verifies(tmp_path: Path, stop_at: str) -> None:
    archive_sweep(lived(f"sqlite:///{tmp_path}/x.db", stop_at=stop_at), "s", tmp_path / "s.kdsweep")
    assert differing(tmp_path / "s.kdsweep") == []
    assert verify(tmp_path / "s.kdsweep")[-1].what == "answer hash none: not ended yet"


def test_a_selection_is_verified_against_the_scores_of_its_time(tmp_path: Path) -> None:
    """A failed trial is later retried and scores best; the frozen ranks stay valid."""
    url = created(f"sqlite:///{tmp_path}/x.db")

    def fails(claim: Any, params: dict[str, Any], on_step: Callable[[], None]) -> Any:
        if claim.key == "search#0" and claim.row.attempt < 3:
            raise ValueError("not yet")
        outcome = quadratic(claim, params, on_step)
        return replace(changed(outcome, val_accuracy=0.95), score=0.95) if claim.key == "search#0" else outcome

    work(url, fails)
    assert "search#0" in retry(url, "s")
    work(url, fails)
    archive_sweep(url, "s", tmp_path / "s.kdsweep")
    assert differing(tmp_path / "s.kdsweep") == []


def test_epochs_of_scratch_at_the_same_cost_follow_from_the_macs(tmp_path: Path) -> None:
    spec = override(SMALL, {"transfer.source_arms": [*SMALL.transfer.source_arms, "scratch-same-cost"]})
    name, macs = "same-cost.source", {"source": Macs(student=1000, teacher=3000)}
    epochs = equal_cost_epochs(spec, macs, "source")

    def run(claim: Any, params: dict[str, Any], on_step: Callable[[], None]) -> Any:
        outcome = quadratic(claim, params, on_step)
        if "scratch-same-cost" not in claim.key:
            return outcome
        with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
            value = json.dumps({"epochs": epochs, "source": {"student": 1000, "teacher": 3000}})
            row = (claim.row.sweep_id, name, value, time.time())
            connection.execute(
                "INSERT OR IGNORE INTO selections (sweep_id, name, value, created_at) VALUES (?,?,?,?)", row
            )
        return changed(outcome, epochs=epochs)

    url = created(f"sqlite:///{tmp_path}/x.db", spec)
    work(url, run)
    assert extend(url, "s", seeds=1).tasks > 0  # more seeds change the epochs at the same cost
    work(url, run)
    file = tmp_path / "s.kdsweep"
    archive_sweep(url, "s", file)
    assert differing(file) == []
    changes: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
        (lambda value: value.update(epochs=epochs + 1), "its operations give "),
        (lambda value: value["source"].update(student="x"), "it cannot be computed from its operations: "),
        (lambda value: value["source"].update(student=0), "it cannot be computed from its operations: "),
    ]
    for change, message in changes:
        (differences,) = differing(edited(file, "selections.jsonl", partial(_change, name, change)))
        assert differences.startswith(f"selection {name}: {message}")
    (differences,) = differing(edited(file, "selections.jsonl", lambda lines: lines.remove(_of(lines, name))))
    assert differences.startswith(f"selection {name}: it is missing, and transfer#source.scratch-same-cost.0 ")


def test_the_command_prints_a_line_per_check_and_exits_1_on_a_difference(file: Path, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("verify", str(file))
    *lines, unproven, last = out.splitlines()
    assert (code, err) == (0, "")
    assert unproven.startswith("not checked, since nothing in the file proves them: seconds")
    assert all(line.startswith("same     ") for line in lines)
    assert last == f"{len(lines)} of {len(lines)} as the file claims"

    def nasty(lines: Lines) -> None:
        _score(lines)
        _of(lines, "search#3")["outcome"]["trial"]["value"] = "a\nb \ud800"

    code, out, _ = kd_sweeps("verify", str(edited(file, "tasks.jsonl", nasty)))
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("DIFFERS  audit: search#3: expected one value")]
    assert all(line.startswith(("same", "DIFFERS")) for line in out.splitlines()[:-2])
    code, out, err = kd_sweeps("verify", "missing.kdsweep")
    assert (code, out, err.count("\n")) == (1, "", 1)

"""Creating a sweep by processes at once and by processes that die: one complete sweep results."""

import contextlib
import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import pytest

from storage.errors import NotAStorage, SweepNotFound
from storage.failpoints import POINTS, VARIABLE
from storage.records import queries
from storage.studies.space import study_name
from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps.errors import AnotherSpec
from sweeps.plan.audit import audit
from sweeps.plan.plan import make_plan
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override, parse
from sweeps.stats.verdict import RULE
from sweeps.usecases.create import SpecRequest, create_sweep, requested
from tests.support.sweeps.small_sweeps import FORK, PRELOADED, SMALL, created

NEW, THERE_ALREADY, KILLED = 10, 11, -9

# Imported in advance, so that creates run at the same time instead of importing.
FORK.set_forkserver_preload([*PRELOADED, "scipy.stats.qmc", "sklearn.datasets"])


def create(url: str, at: float, crash_at: str) -> None:
    """Create a sweep in a child process; the exit code says what `create_sweep` returned."""
    if crash_at:
        os.environ[VARIABLE] = crash_at
    time.sleep(max(0.0, at - time.time()))
    raise SystemExit(NEW if create_sweep(resolve(url), "s", SMALL).new else THERE_ALREADY)


def start(url: str, *, at: float = 0.0, crash_at: str = "") -> BaseProcess:
    process = FORK.Process(target=create, args=(url, at, crash_at), daemon=True)
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    process.join(60)
    return process.exitcode


def outcome_is_readable(url: str) -> None:
    """Check that there is one sweep with all its tasks and studies, and nothing else."""
    with contextlib.closing(open_studies(resolve(url))) as studies:
        (sweep,) = queries.list_sweeps(studies.engine)
        assert sweep.name == "s"
        stages = make_plan(parse(sweep.spec)).stages
        assert sorted(studies.names()) == sorted(study_name("s", stage) for stage in stages)
        for stage in stages:
            study = optuna.load_study(study_name=study_name("s", stage), storage=studies.storage)
            assert study.metric_names == ["latency_ms_p50" if stage == "measure" else "val_accuracy"]
            assert study.user_attrs["fingerprint"] == sweep.fingerprint
            assert (study.user_attrs["stage"], study.user_attrs["identity"]) == (stage, sweep.identity)
            note = studies.storage.get_study_system_attrs(studies.ids()[study.study_name])["dashboard:note_str:0"]
            assert note.startswith(f"# s: stage {stage}")
            assert study.trials == []
        tasks = queries.task_records(studies.engine, sweep.id)
        assert [task.key for task in tasks] == [task.key for task in make_plan(SMALL).tasks]
        assert {task.state for task in tasks} == {"waiting"}
        report = audit(studies.engine, sweep)
        assert (report.violations, report.warnings, report.planned) == ([], [], len(tasks))


def test_a_sweep_created_meanwhile_keeps_its_studies_and_a_deleted_study_is_recreated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/kd-sweeps.db"
    created(url)
    with monkeypatch.context() as unseen:
        unseen.setattr("sweeps.usecases.create.find", lambda *_: [])
        with pytest.raises(AnotherSpec, match="sweep s exists with another spec"):
            create_sweep(resolve(url), "s", override(SMALL, {"search.trials": 7}))
    outcome_is_readable(url)
    optuna.delete_study(study_name="s", storage=url)
    assert not create_sweep(resolve(url), "s", requested(resolve(url), "s", SpecRequest())).new, (
        "the name alone finds the sweep"
    )
    outcome_is_readable(url)


@pytest.mark.processes
def test_a_create_completes_what_killed_ones_left_at_each_point(tmp_path: Path) -> None:
    storage_url = f"sqlite:///{tmp_path}/kd-sweeps.db"
    for point in POINTS["create"]:
        assert exit_code(start(storage_url, crash_at=point + ":3" * point.startswith("study-"))) == KILLED, point
        with pytest.raises((NotAStorage, SweepNotFound)), open_sweep(storage_url, "s"):
            pass
    assert create_sweep(resolve(storage_url), "s", SMALL).new
    outcome_is_readable(storage_url)


@pytest.mark.processes
def test_of_several_creates_on_an_empty_database_one_succeeds_even_if_another_died_holding_the_lock(
    storage_url: str,
) -> None:
    """tests/processes/storage/test_processes.py creates the tables with more processes."""
    at = time.time() + 1.0
    doomed = start(storage_url, crash_at="create-locked")
    waiting = [start(storage_url, at=at) for _ in range(3)]
    assert exit_code(doomed) == KILLED
    assert sorted(exit_code(creator) or 0 for creator in waiting) == [NEW, THERE_ALREADY, THERE_ALREADY]
    outcome_is_readable(storage_url)


@pytest.mark.slow
def test_a_create_killed_repeatedly_at_any_instant_is_completed_in_the_end(storage_url: str) -> None:
    """Also while Optuna makes its tables, where there is no failpoint. Each process lives a little longer."""
    kills = 0
    while (code := exit_code_after(start(storage_url), seconds=0.04 * kills)) == KILLED:
        kills += 1
        with contextlib.suppress(NotAStorage, SweepNotFound), open_sweep(storage_url, "s"):
            outcome_is_readable(storage_url)
    assert kills > 5, "hardly any process was killed in the middle"
    assert code in (NEW, THERE_ALREADY)
    outcome_is_readable(storage_url)


def exit_code_after(process: BaseProcess, *, seconds: float) -> int | None:
    process.join(seconds)
    process.kill()
    return exit_code(process)


def test_an_existing_sweep_keeps_its_declared_rule(tmp_path: Path, in_memory: None) -> None:
    url = resolve(f"sqlite:///{tmp_path}/s.db")
    old = create_sweep(url, "s", SMALL).spec
    new = override(SMALL, {"transfer.rule": RULE, "transfer.margin_share": 0.2})
    second = create_sweep(url, "s", new)
    assert old.transfer.rule == 2
    assert (second.new, second.spec, second.spec.fingerprint) == (False, old, old.fingerprint)
    with pytest.raises(AnotherSpec) as error:
        create_sweep(url, "s", override(new, {"search.trials": SMALL.search.trials + 1}))
    assert "rule" not in str(error.value)
    assert "margin" not in str(error.value)

"""A training that two arms share runs once, and the answer is that of two trainings."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.url import resolve
from sweeps.plan.jobs import StudentOutcome, TransferTask, read_finished
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, parse
from sweeps.usecases.create import create_sweep
from sweeps.usecases.replay import chosen, replay
from sweeps.workers import runner
from sweeps.workers.worker import run_worker
from tests.support.paths import REPOSITORY
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import analysed, answer_of, done_of, violations
from tests.support.sweeps.typed_commands import KdSweeps

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TRAINER = REPOSITORY / "tests" / "examples" / "digits_trainer.py"


def _spec() -> Spec:
    values = {
        "trainer": {"kind": f"{TRAINER}:KIND"},
        "source": {"dataset": "digits"},
        "target": {"dataset": "negative"},
        "search": {"trials": 3, "sampler": "qmc"},
        "confirm": {"rounds": [[2, 1], [1, 1]]},
        "transfer": {"seeds": 2},
        "outer": {"searches": 3},
    }
    return parse(values, origin="test", new=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a storage with a sweep "s" of rule 3 that two processes finished."""
    folder = tmp_path_factory.mktemp("shared")
    url = f"sqlite:///{folder}/s.db"
    assert create_sweep(resolve(url), "s", _spec()).new
    command = [sys.executable, "-W", "ignore", "-m", "sweeps.cli", "worker", "s", "--storage", url]
    workers = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        _, err = worker.communicate(timeout=300)
        assert worker.returncode == 0, err
    return url


def _compared(url: str) -> dict[str, Any]:
    rows = [row for row in records(url).values() if row.stage == "transfer"]
    return {job.key: job for job in read_finished(rows, TransferTask, StudentOutcome)}


def test_a_shared_training_names_its_original_and_has_its_result(finished: str) -> None:
    jobs = _compared(finished)
    shared = {key: job for key, job in jobs.items() if job.outcome.same_as}
    assert shared, "the default is in every race, so it wins one, or both searches end at one point"
    for job in shared.values():
        original = jobs[job.outcome.same_as]
        assert not original.outcome.same_as
        assert (original.work.role, original.work.group, original.work.seed) == (
            job.work.role,
            job.work.group,
            job.work.seed,
        )
        assert (original.score, original.outcome.test_accuracy) == (job.score, job.outcome.test_accuracy)
        assert (original.outcome.point, original.outcome.train_s) == (job.outcome.point, job.outcome.train_s)
        assert job.outcome.arm == job.work.arm
        assert job.outcome.blobs == {}
        assert job.row.trial_number != original.row.trial_number
        assert not job.key.endswith("best.0"), "a student whose model is kept must be trained"
    assert violations(finished) == []


def test_sharing_trainings_does_not_change_the_answer(
    finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    monkeypatch.setattr(runner, "earlier_training", lambda *_: None)
    assert create_sweep(resolve(url), "s", _spec()).new
    assert run_worker(resolve(url), "s") == 0
    assert not any(job.outcome.same_as for job in _compared(url).values())
    assert answer_of(url) == answer_of(finished) is not None
    assert violations(url) == []


def test_a_replay_trains_shared_trainings(finished: str) -> None:
    key = next(key for key, job in _compared(finished).items() if job.outcome.same_as)
    with open_sweep(finished, "s") as (engine, sweep):
        jobs = chosen(engine, sweep, key=key, sample=1)
        (replayed,) = replay(engine, sweep, jobs)
    assert (replayed.key, replayed.differs) == (key, ())


def test_verify_finds_a_changed_score_of_a_shared_training(finished: str, tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    file = str(tmp_path / "s.kdsweep")
    assert kd_sweeps("archive", "s", "-o", file, "--storage", finished)[0] == 0
    code, checks, _ = kd_sweeps("verify", file)
    assert (code, "DIFFERS" in checks) == (0, False), checks
    url = f"sqlite:///{shutil.copy(finished.removeprefix('sqlite:///'), tmp_path / 'edited.db')}"
    key, job = next((key, job) for key, job in _compared(url).items() if job.outcome.same_as)
    edit = "UPDATE tasks SET outcome = json_set(outcome, '$.test_accuracy', 0.125) WHERE key = "
    execute(url, f"{edit}'{job.outcome.same_as}'")
    assert kd_sweeps("archive", "s", "-o", file, "--force", "--storage", url)[0] == 0
    code, checks, _ = kd_sweeps("verify", file)
    assert code == 1
    assert f"outcome of {key}: it claims to be {job.outcome.same_as}, which has another result" in checks


def test_the_default_takes_part_in_every_round_of_every_confirmation(finished: str) -> None:
    spec = _spec()
    for group in spec.groups:
        for kind in ("confirm", "native:confirm"):
            tag = f"@{group.tag}" if group.tag else ""
            for phase in (f"{kind}:1{tag}", f"{kind}{tag}"):
                raced = [row for row in done_of(finished, phase) if row.payload.get("arm")]
                assert [row.payload["arm"] for row in raced] == ["default"]
                assert [row.params for row in raced] == [{"C": 1.0, "tol": 1e-4}]
    for confirmed in analysed(finished).confirmed.values():
        arms = [candidate.arm for candidate in confirmed.candidates]
        assert arms == [*[""] * (len(arms) - 1), "default"]
        assert confirmed.candidates[-1].accuracy.n == 2, "in both rounds"

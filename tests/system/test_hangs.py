"""What neither dies nor ends: a sweep with it in ends by itself, loses nothing, and says what happened."""

import time
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.failpoints import POINTS
from storage.queue import workers
from storage.records import queries
from storage.records.queries import AttemptRecord
from sweeps.plan.audit import audit
from sweeps.spec.model import override
from sweeps.usecases.steering import cancel
from tests.support.launches import environment, launched, start_launch
from tests.support.processes import is_alive
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of

pytestmark = pytest.mark.processes

IMPATIENT = override(SMALL, {"limits.search": 1.0, "limits.teachers": 1.0})


def history(url: str, key: str) -> list[AttemptRecord]:
    """The attempts of a task, after checking that the sweep ended well and the books agree."""
    from storage.url import resolve

    engine = open_engine(resolve(url))
    try:
        sweep = queries.find_sweep(engine, "s")
        assert {task.state for task in tasks_of(engine)} == {"done"}
        found = audit(engine, sweep)
        assert (found.violations, found.warnings) == ([], [])
        return queries.attempts_of(engine, sweep.id, key) or []
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("while True: time.sleep(60)", id="a step that never ends"),
        pytest.param("while True: steps.check(), time.sleep(0.05)", id="a child that says nothing"),
    ],
)
@pytest.mark.slow_on("postgres")
def test_a_task_that_makes_no_step_is_ended_tried_again_and_its_worker_replaced(
    storage_url: str, tmp_path: Path, how: str
) -> None:
    url = created(storage_url, IMPATIENT)
    misbehave = f'if claim.key == "search#1" and once("hung"):\n    print("about to hang", flush=True)\n    {how}'
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code, out = launched(environment(tmp_path / "home", url, misbehave) | {"TMPDIR": str(temporary)})
    assert code == 0, out
    assert list(temporary.iterdir()) == [], "of a worker that died, neither"
    first, second = history(storage_url, "search#1")
    assert (first.state, first.error_class, second.state) == ("failed", "timeout", "done")
    assert first.reason == "no step for 1 s (limits.search)"
    assert "about to hang" in (first.log or "")
    assert "StepTimeout" in (first.trace or "")
    if "check" not in how:
        assert "ended itself, because its task did not end; its task is free again, another takes its place" in out


@pytest.mark.slow
def test_a_task_that_hangs_each_time_fails_at_its_cap_and_the_sweep_goes_on(tmp_path: Path) -> None:
    spec = override(IMPATIENT, {"retry.timeout": 3, "lease.interval_s": 0.1})
    url = created(f"sqlite:///{tmp_path}/s.db", spec)
    hang = 'if claim.key == "search#1":\n    time.sleep(600)'
    code, out = launched(environment(tmp_path / "home", url, hang), workers=1)
    engine = open_engine(url)
    (task,) = [one for one in tasks_of(engine) if one.key == "search#1"]
    states = {one.state for one in tasks_of(engine)}
    engine.dispose()
    assert (task.state, task.error_class, task.attempt) == ("failed", "timeout", 3)
    assert states == {"done", "failed"}
    assert code == 0, out  # one lost point of a search is no failure of the sweep
    assert out.count("ended itself, because its task did not end") == 3, "which are no quick deaths of a worker"


def test_a_frozen_worker_is_ended_and_replaced(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"lease.interval_s": 0.2, "lease.grace_s": 0.8}))
    freeze = 'if claim.key == "search#1" and once("frozen"):\n    os.kill(os.getpid(), signal.SIGSTOP)'
    code, out = launched(environment(tmp_path / "home", url, freeze), workers=1)
    assert code == 0, out
    first, second = history(f"sqlite:///{tmp_path}/s.db", "search#1")
    assert (first.state, first.error_class, second.state) == ("lost", "lost worker", "done")
    assert "does not move any more: it is ended" in out


FREEZE_AT = """
import types
import storage.failpoints as failpoints

def freeze(pid, number):
    if once(os.environ[failpoints.VARIABLE]):
        os.kill(pid, signal.SIGSTOP)

failpoints.os = types.SimpleNamespace(environ=os.environ, getpid=os.getpid, kill=freeze)
os.environ.update({{failpoints.VARIABLE: next((at for at in {points} if not (HOME / at).exists()), "none")}})
"""


@pytest.mark.slow
def test_a_worker_frozen_past_its_lease_at_any_step_loses_nothing(storage_url: str, tmp_path: Path) -> None:
    """One after the other, each worker at another step; whoever is frozen between two transactions holds no lock."""
    points = POINTS["worker"]
    spec = override(SMALL, {"lease.interval_s": 0.2, "lease.grace_s": 0.8, "retry.lost_worker": 0})
    env = environment(tmp_path / "home", created(storage_url, spec))
    custom = tmp_path / "home" / "sitecustomize.py"
    custom.write_text(custom.read_text() + FREEZE_AT.format(points=points))
    code, out = 1, ""
    for _ in points:
        if code:  # three that are frozen so soon after each other end a launch
            code, said = launched(env, workers=1, timeout=300)
            out += said
    assert code == 0, out
    assert out.count("does not move any more: it is ended") == len(points), out
    history(storage_url, "search#1")


def test_one_launch_survives_the_death_of_each_of_its_workers(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    kill = """
    for key in ("search#1", "native.search#2", "transfer#target.best.0"):
        if claim.key == key and once(key):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    code, out = launched(environment(tmp_path / "home", url, kill))
    assert code == 0, out
    for key in ("search#1", "native.search#2", "transfer#target.best.0"):
        assert [one.state for one in history(f"sqlite:///{tmp_path}/s.db", key)] == ["lost", "done"]
    assert out.count("was killed by signal 9; its task is free again, another takes its place") == 3
    engine = open_engine(url)
    records = workers.records(engine, queries.find_sweep(engine, "s").id)
    engine.dispose()
    reasons = [one.reason for one in records if one.reason]
    assert reasons == ["was killed by signal 9"] * 3
    assert len(records) in (4, 5), "the last one has no successor where the other worker does the rest"


@pytest.mark.slow
def test_three_quick_deaths_in_a_row_end_the_launch_with_the_last_words(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    code, out = launched(environment(tmp_path / "home", url, 'sys.exit("no such thing here")'), workers=1)
    assert code == 1
    assert out.count("another takes its place") == 2
    assert "no other takes its place, after 3 that died so soon" in out
    assert "no such thing here" in out
    assert "3 workers in a row died soon after their start, and s is not finished; nothing is lost" in out
    engine = open_engine(url)
    assert {task.state for task in tasks_of(engine)} == {"waiting"}
    engine.dispose()


def test_of_a_worker_that_left_without_a_word_its_own_last_line_is_shown(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    leave = """
    if claim.key == "search#1" and once("left"):
        print("noise of a library", flush=True)
        os._exit(7)
    """
    code, out = launched(environment(tmp_path / "home", url, leave), workers=1)
    assert code == 0, out
    assert "ended with exit code 7; its task is free again, another takes its place" in out
    assert "noise of a library" not in out
    assert "search#1 attempt 1\n" in out


def test_what_a_dead_worker_left_behind_is_ended_with_it(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    die = """
    import subprocess
    if claim.key == "search#1" and once("died"):
        (HOME / "child").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    code, out = launched(environment(tmp_path / "home", url, die), workers=1)
    assert code == 0, out
    assert not is_alive(int((tmp_path / "home" / "child").read_text()))


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param("threading.Thread(target=time.sleep, args=(600,)).start()", id="a thread"),
        pytest.param("atexit.register(time.sleep, 600)", id="an exit handler"),
    ],
)
def test_what_a_student_leaves_running_keeps_no_worker_and_ends_in_no_false_word(tmp_path: Path, leave: str) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    misbehave = f'import atexit, threading\nif claim.key == "search#1":\n    {leave}'
    begun = time.monotonic()
    code, out = launched(environment(tmp_path / "home", url, misbehave), workers=1)
    assert code == 0, out
    assert time.monotonic() - begun < 45
    for wrong in ("does not", "killed", "free again", "takes its place"):
        assert wrong not in out, out
    assert "100 %" in out
    assert "finished. Next:" in out


def test_cancel_reaches_a_worker_whose_student_hangs(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    home = tmp_path / "home"
    hang = 'if claim.key == "search#1":\n    once("hung")\n    while True: time.sleep(60)'
    process = start_launch(environment(home, url, hang), workers=1)
    deadline = time.monotonic() + 60
    while not (home / "hung").exists():
        assert time.monotonic() < deadline, process.communicate(timeout=1)
        time.sleep(0.1)
    cancel(url, "s")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "s is cancelled; to go on from the same point, type: kd-sweeps resume s" in out
    assert "; the sweep is cancelled\n" in out, "it ended itself, or was ended as frozen"
    assert "takes its place" not in out

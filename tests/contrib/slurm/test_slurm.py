"""Sweeps on a real Slurm: members cancelled, requeued and killed, and launches stopped or detached."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.queue import workers
from storage.records import queries
from storage.url import plain, resolve
from sweeps.spec.model import override
from sweeps.workers.reach import log_folder
from tests.support.faults.storms import count
from tests.support.launches import KEEP_ENVIRONMENT, THREADS, environment, kept_environments
from tests.support.postgres_server import PostgresServer
from tests.support.slurm_cluster import SlurmCluster
from tests.support.sweeps.planted_sweeps import answer_of, worked
from tests.support.sweeps.small_sweeps import SMALL, created, draw, tasks_of, wait_until
from tests.support.sweeps.typed_commands import KdSweeps
from tests.support.web.services import TOKENS, WORKER, serving

pytestmark = pytest.mark.processes

# The lease outlasts the tests, so a task that is free again was released by its worker or freed by the launch.
CALM = {"lease.interval_s": 1, "lease.grace_s": 120}
SPEC = override(SMALL, CALM)

PASSWORD = "g3heimnis/w@rt"  # differs from other tests' passwords, which a concurrent process may hold
HOME = "home of 100 %"  # the path of the logs has characters that are special to scripts and to Slurm

Start = Callable[..., "subprocess.Popen[str]"]


def member_of(worker: str) -> str:
    """Return the array member of a worker: "12_3" of "slurm-12_3.0-ab12"."""
    match = re.fullmatch(r"slurm-(\d+_\d+)\.\d+-[0-9a-f]{4}", worker)
    assert match, worker
    return match[1]


class Watched:
    """A sweep in a database, with queries for a test."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(resolve(url))
        self.sweep_id = queries.find_sweep(self.engine, "s").id

    def at_work(self) -> set[str]:
        """Return the workers with a task."""
        return {task.worker for task in queries.running_tasks(self.engine, self.sweep_id)}

    def seen(self) -> set[str]:
        """Return all workers that ever registered."""
        return set(workers.seen(self.engine, self.sweep_id))


@pytest.fixture
def watch() -> Iterator[Callable[[str], Watched]]:
    """Create the sweep in a database, and open it."""
    with contextlib.ExitStack() as stack:

        def create(url: str) -> Watched:
            created(url, SPEC)
            sweep = Watched(url)
            stack.callback(sweep.engine.dispose)
            return sweep

        yield create


@pytest.fixture
def watched(postgres_url: str, watch: Callable[[str], Watched]) -> Watched:
    return watch(postgres_url)


@pytest.fixture
def start(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start "launch s --on slurm", by default on the storage of the test."""
    started: list[subprocess.Popen[str]] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / HOME / "state"))

    def begin(
        *words: str, misbehave: str = "pass", url: str = postgres_url, variables: Mapping[str, str] = {}
    ) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", "launch", "s", "--on", "slurm", *words],
            env=environment(tmp_path / HOME, resolve(url), misbehave) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ended(process: "subprocess.Popen[str]", seconds: float = 120) -> tuple[int, str]:
    """Run a command to its end; return exit code and output."""
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


HOLD = """
    if claim.key == "search#1" and once("held"):
        while True:
            steps()
            time.sleep(0.02)
"""

KILL = 'if claim.key == "search#1" and once("killed"): os.kill(os.getpid(), signal.SIGKILL)'


def holder(watched: Watched, process: "subprocess.Popen[str]") -> str:
    """Wait for the worker that holds the task of `HOLD`; return it."""

    def holders() -> list[str]:
        at_work = queries.running_tasks(watched.engine, watched.sweep_id)
        return [task.worker for task in at_work if task.key == "search#1" and task.running_s > 0.3]

    wait_until(lambda: bool(holders()) or process.poll() is not None, "no worker holds the task")
    assert process.poll() is None, process.communicate()[0]
    return holders()[0]


def attempts_of_held(watched: Watched) -> list[tuple[str, str]]:
    """Return state and worker of each attempt of the held task."""
    return [
        (attempt.state, attempt.worker)
        for attempt in queries.attempts_of(watched.engine, watched.sweep_id, "search#1") or []
    ]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (["--signal=KILL", "--full"], "Slurm says: CANCELLED"),
        pytest.param([], "ended with exit code 143; ", marks=pytest.mark.slow),
    ],
)
def test_a_launch_submits_one_array_replaces_a_cancelled_member_and_ends_with_the_sweep(
    slurm: SlurmCluster,
    server: PostgresServer,
    watch: Callable[[str], Watched],
    start: Start,
    how: list[str],
    message: str,
    kd_sweeps: KdSweeps,
) -> None:
    """No script, list of processes or log holds the password of the database."""
    url = server.new_database(role="submitter", password=PASSWORD)
    watched = watch(url)
    process = start("--workers", "2", "--", "--partition=main", "--comment", "two words", misbehave=HOLD, url=url)
    worker = holder(watched, process)
    visible = [
        slurm.run("scontrol", "show", "job", "--details", member_of(worker)),
        slurm.run("scontrol", "write", "batch_script", member_of(worker), "-"),
        *(commands() or ["sweeps.cli worker s"]),
    ]
    slurm.run("scancel", *how, member_of(worker))
    code, out = ended(process)
    assert code == 0, out
    submitted = re.findall(r"submitted (\d) workers? as Slurm job \d+", out)
    assert submitted in (["2"], ["2", "1"]), out  # the other one may have done the rest meanwhile
    assert f"worker {worker} " in out
    assert message in out
    assert "finished. Next:" in out
    first, second = attempts_of_held(watched)
    assert (first[1], second[0]) == (worker, "done")
    assert first[0] in ("released", "lost")
    assert slurm.members() == {}
    assert count(url, name="s").clean
    logs = sorted(log_folder(resolve(url), "s").glob("*.log"))
    assert [path.stat().st_mode & 0o777 for path in logs] == [0o600] * sum(map(int, submitted))
    code, logged, _ = kd_sweeps("logs", "s", "--storage", url)
    assert (code, logged.count("==> ")) == (0, len(logs))
    assert "no task is left" in logged
    assert any("sweeps.cli worker s" in text for text in visible)
    assert not [text for text in [*visible, out, logged, *(path.read_text() for path in logs)] if "g3heimnis" in text]


def test_members_without_a_database_give_the_same_answer_through_a_service(
    slurm: SlurmCluster, start: Start, tmp_path: Path
) -> None:
    answer, url = answer_of(worked(f"sqlite:///{tmp_path}/calm.db", SPEC)), f"sqlite:///{tmp_path}/s.db"
    created(url, SPEC)
    with serving(url, folder=tmp_path, tokens=TOKENS) as service:
        process = start(
            "--workers", "2", "--url", service.url, misbehave=KILL,
            variables={"KD_SWEEPS_STORAGE": "", "KD_SWEEPS_TOKEN": WORKER},
        )  # fmt: skip
        code, out = ended(process)
    assert code == 0, out
    assert "ended with exit code 137; its task is back in the queue; starting another" in out
    assert answer_of(url) == answer is not None
    draw(resolve(url), "s")
    assert count(url, name="s").clean
    assert WORKER not in out + service.log


@pytest.mark.slow
@pytest.mark.parametrize("how", ["its time is up", "its node failed"])
def test_a_requeued_member_returns_its_task_and_restarts_as_another_worker(
    slurm: SlurmCluster, watched: Watched, start: Start, how: str
) -> None:
    process = start("--workers", "1", misbehave=HOLD)
    worker = holder(watched, process)
    if how == "its time is up":  # what Slurm sends a minute before
        slurm.run("scancel", "--batch", "--signal=USR1", member_of(worker))
    else:
        slurm.run("scontrol", "requeue", member_of(worker))
    code, out = ended(process)
    assert code == 0, out
    restarted = worker.replace(".0-", ".1-")
    assert "its task is back in the queue; the engine starts it again" in out
    assert [name for _, name in attempts_of_held(watched)] == [worker, restarted]
    assert watched.seen() == {worker, restarted}
    assert out.count(" as Slurm job") == 1, "no replacement was submitted"
    assert count(plain(watched.engine.url), name="s").clean


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_stopped_launch_returns_every_task_and_leaves_no_job(
    slurm: SlurmCluster, watched: Watched, start: Start, number: int, code: int
) -> None:
    options = ["--cpus-per-task=3"]  # the node has room for two
    process = start("--workers", "3", "--", *options, misbehave="while True:\n    steps()\n    time.sleep(0.02)")
    wait_until(lambda: len(watched.at_work()) == 2 and len(slurm.members()) == 3, "no worker")
    assert "PENDING" in slurm.members().values(), "one has no machine yet"
    process.send_signal(number)
    ended_with, out = ended(process, 60)
    assert ended_with == code, out
    assert "stopped; nothing is lost. To resume: kd-sweeps launch s --on slurm --workers 3 -- --cpus-per-task=3" in out
    assert slurm.members() == {}
    assert "running" not in {task.state for task in tasks_of(watched.engine)}
    assert {
        attempt.state for attempt in queries.attempts_of(watched.engine, watched.sweep_id, "teachers#source") or []
    } <= {"released"}


@pytest.mark.slow
def test_a_detached_array_finishes_the_sweep_unattended(slurm: SlurmCluster, watched: Watched, start: Start) -> None:
    code, out = ended(start("--workers", "2", "--detach"))
    assert code == 0, out
    match = re.search(r"submitted 2 workers as Slurm job (\d+)", out)
    assert match, out
    assert f"scancel {match[1]}" in out
    wait_until(lambda: not slurm.members(job=int(match[1])), "it does not end", seconds=120)
    assert count(plain(watched.engine.url), name="s").clean
    code, out = ended(start("--workers", "2", "--detach"))
    assert (code, "s is finished; see: kd-sweeps best s" in out) == (1, True)


@pytest.mark.slow
def test_the_printed_script_can_be_submitted_by_hand(
    slurm: SlurmCluster, watched: Watched, start: Start, tmp_path: Path
) -> None:
    words = ["--workers", "2", "--dry-run", "--", '--comment=two "words" #1', "-p", "main"]
    code, out = ended(start(*words))
    assert code == 0, out
    folder = log_folder(watched.engine.url, "s")
    folder.mkdir(parents=True)  # a launch creates it
    env = environment(tmp_path / HOME, watched.engine.url)
    text = out[out.index("#!/bin/bash") :]
    result = subprocess.run(["sbatch"], input=text, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    array = int(result.stdout.split()[-1])
    assert 'Comment=two "words" #1' in slurm.run("scontrol", "show", "job", str(array))
    wait_until(lambda: not slurm.members(job=array), "it does not end", seconds=120)
    assert count(plain(watched.engine.url), name="s").clean
    assert sorted(path.name for path in folder.glob("*.log")) == [f"slurm-{array}_{seat}.log" for seat in range(2)]


@pytest.mark.slow
def test_a_cancelled_detached_array_is_not_resubmitted(slurm: SlurmCluster, watched: Watched, start: Start) -> None:
    _, out = ended(start("--workers", "1", "--detach", misbehave=HOLD))
    wait_until(lambda: bool(watched.at_work()), "no worker")
    slurm.run("scancel", re.findall(r"scancel (\d+)", out)[0])
    wait_until(lambda: not slurm.members(), "it does not end")
    assert watched.at_work() == set()


@pytest.mark.slow
def test_workers_survive_a_controller_that_is_down_for_a_while(
    slurm: SlurmCluster, watched: Watched, start: Start
) -> None:
    process = start("--workers", "2", misbehave=HOLD)
    worker = holder(watched, process)
    slurm.stop_daemon("slurmctld")
    wait_until(lambda: watched.at_work() == {worker}, "the other workers do not end")
    slurm.start_daemon("slurmctld")
    wait_until(lambda: member_of(worker) in slurm_members(slurm), "Slurm lost the member")
    assert process.poll() is None
    slurm.run("scancel", member_of(worker))
    code, out = ended(process)
    assert code == 0, out
    assert count(plain(watched.engine.url), name="s").clean


def slurm_members(slurm: SlurmCluster) -> dict[str, str]:
    """Return the members that have not ended; none while the controller does not answer."""
    try:
        return slurm.members()
    except AssertionError:
        return {}


@pytest.mark.slow
def test_each_member_gets_a_device_of_slurm_and_keeps_its_threads(
    slurm: SlurmCluster, watched: Watched, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    code, out = ended(start("--workers", "2", "--", "--gres=gpu:1", misbehave=KEEP_ENVIRONMENT))
    assert code == 0, out
    environments = kept_environments(tmp_path / HOME)
    assert {(env["CUDA_VISIBLE_DEVICES"], env["KD_SWEEPS_GPU"]) for env in environments} == {("0", "0"), ("1", "1")}
    assert not [env for env in environments if set(THREADS) & set(env)]


def test_a_refusal_of_slurm_is_one_line_with_its_message(
    slurm: SlurmCluster, watched: Watched, postgres_url: str, kd_sweeps: KdSweeps
) -> None:
    for option, message in (
        ("--partition=nope", "invalid partition specified: nope; Batch job submission"),
        ("--bogus", "unrecognized option '--bogus'"),
    ):
        words = ["--on", "slurm", "--workers", "2", "--storage", postgres_url, "--", option]
        code, _, err = kd_sweeps("launch", "s", *words)
        assert code == 1
        assert f"sbatch refused the workers: {message}" in err.splitlines()[-1]
        assert "Traceback" not in err
    assert slurm.members() == {}


def test_without_slurm_the_error_is_one_line(
    watched: Watched, postgres_url: str, kd_sweeps: KdSweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in ([], ["--detach"]):
        code, _, err = kd_sweeps("launch", "s", "--on", "slurm", "--workers", "2", *words, "--storage", postgres_url)
        assert code == 1
        assert "--on slurm needs sbatch, squeue and scancel, not found in PATH" in err.splitlines()[-1]


def commands() -> list[str]:
    """Return the command lines of all processes; none where there is no /proc."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines

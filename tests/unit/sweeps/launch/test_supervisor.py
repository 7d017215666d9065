"""The supervisor: workers that their engine restarts, that wait for a machine, or that cannot be replaced."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy

from storage.db.engine import open_engine
from storage.queue import workers
from storage.records import queries
from sweeps.errors import SweepError
from sweeps.launch import launcher, supervisor
from sweeps.launch.engine import Request
from sweeps.launch.oversight import DatabaseOversight
from sweeps.launch.supervisor import MOST_QUICK, Supervisor
from sweeps.spec.model import override
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

KdSweeps = Callable[..., tuple[int, str, str]]


@dataclass(eq=False)
class Puppet:
    """A worker that the test controls."""

    slot: int
    worker: str
    code: int | None = None
    lived_s: float = 1.0
    replacement: "Puppet | None" = None
    signals: list[int | str] = field(default_factory=list)

    log_place = "nowhere"

    def send(self, number: int) -> None:
        self.signals.append(number)

    def wake(self) -> None:
        self.signals.append("wake")

    def kill(self) -> None:
        self.signals.append("kill")

    def end_children(self) -> None:
        pass

    def last_lines(self, count: int) -> list[str]:
        return []

    def stored_log(self, url: sqlalchemy.URL) -> str | None:
        return None


@dataclass
class Stage:
    """An engine of puppets, which refuses to start any while `refuses` is set."""

    puppets: list[Puppet] = field(default_factory=list)
    refuses: bool = False
    stop_s: float = 0.0

    def start(self, slots: Sequence[int], first: int) -> list[Puppet]:
        if self.refuses:
            raise SweepError("the controller is away")
        new = [Puppet(slot, f"puppet-{first + place}") for place, slot in enumerate(slots)]
        self.puppets += new
        return new


@pytest.fixture
def engine(tmp_path: Path, in_memory: None) -> Iterator[sqlalchemy.Engine]:
    # With this interval, every tick checks the workers.
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"lease.interval_s": 0.1}))
    opened = open_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def crew(engine: sqlalchemy.Engine, messages: list[str], monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.0, 0.0, 0.0))
    sweep = queries.find_sweep(engine, "s")
    return Supervisor(DatabaseOversight(engine, sweep), on=Stage(), say=messages.append, relaunch_command="again")


def stage(crew: Supervisor) -> Stage:
    assert isinstance(crew.on, Stage)
    return crew.on


def test_a_worker_that_its_engine_restarts_is_not_replaced(crew: Supervisor, messages: list[str]) -> None:
    crew.start(range(2))
    first, other = stage(crew).puppets
    first.code, first.replacement = 143, Puppet(0, "again")
    crew.tick()
    assert crew.alive == [other, first.replacement]
    assert len(stage(crew).puppets) == 2
    assert "its task is back in the queue; the engine starts it again" in messages[0]


def test_a_worker_that_dies_quickly_after_each_restart_is_ended(crew: Supervisor, messages: list[str]) -> None:
    crew.start(range(1))
    lives = [stage(crew).puppets[0]]
    for life in range(MOST_QUICK):
        lives[-1].code, lives[-1].replacement = 143, Puppet(0, f"life-{life}")
        lives.append(lives[-1].replacement)  # type: ignore[arg-type]
        crew.tick()
    assert lives[-1].signals == ["kill"]
    assert crew.gave_up
    assert not crew.working
    assert f"giving up: {MOST_QUICK} workers in a row died at start" in messages[-1]


def test_a_refused_replacement_is_retried_while_others_work(crew: Supervisor, messages: list[str]) -> None:
    crew.start(range(2))
    dead, other = stage(crew).puppets
    dead.code = 1
    stage(crew).refuses = True
    crew.tick()
    assert messages[-1] == "the controller is away; retrying"
    assert crew.alive == [other]
    stage(crew).refuses = False
    crew.tick()
    assert [worker.slot for worker in crew.alive] == [1, 0]


def test_a_refusal_with_no_worker_left_ends_the_launch(crew: Supervisor) -> None:
    crew.start(range(1))
    stage(crew).puppets[0].code = 1
    stage(crew).refuses = True
    with pytest.raises(SweepError, match="the controller is away"):
        crew.tick()


def test_workers_that_wait_for_a_machine_are_reported_once_and_stopped_at_the_end(
    crew: Supervisor, messages: list[str], engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew.start(range(3))
    for puppet in stage(crew).puppets[1:]:
        puppet.lived_s = 0.0

    def look() -> None:
        monkeypatch.setattr(crew, "_look_at", 0.0)
        crew.tick()

    look()
    assert messages == [], "workers that were just submitted are not reported"
    look()
    look()
    assert messages == ["2 of 3 workers wait for a machine"]
    assert not any(puppet.signals for puppet in stage(crew).puppets)
    workers.cancel(engine, crew.queue.sweep.id)
    look()
    assert [bool(puppet.signals) for puppet in stage(crew).puppets] == [False, True, True]


def test_a_worker_that_signed_out_has_time_to_exit_and_one_that_did_not_is_killed(
    crew: Supervisor, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew.start(range(2))
    leaving, frozen = stage(crew).puppets
    for puppet in stage(crew).puppets:
        workers.sign_in(engine, crew.queue.sweep.id, puppet.worker, host="h", pid=1, provenance={})
    workers.sign_out(engine, crew.queue.sweep.id, leaving.worker, reason=None)
    wait_until(lambda: crew.tick() or "kill" in frozen.signals, "the frozen worker was not killed")
    assert leaving.signals == []
    monkeypatch.setattr(supervisor, "_EXIT_S", 0.0)  # the time to exit is over
    wait_until(lambda: crew.tick() or "kill" in leaving.signals, "the worker that signed out was not killed")


def test_as_many_idle_workers_are_woken_as_there_are_tasks(crew: Supervisor) -> None:
    crew.start(range(8))
    for puppet in stage(crew).puppets[:-1]:
        workers.sign_in(crew.queue.engine, crew.queue.sweep.id, puppet.worker, host="h", pid=1, provenance={})
    phases = queries.phase_records(crew.queue.engine, crew.queue.sweep.id)
    ready = sum(phase.counts["waiting"] for phase in phases if phase.state == "open")
    crew.wake()
    woken = [puppet for puppet in stage(crew).puppets if puppet.signals]
    assert 0 < len(woken) == ready < 7
    assert all(puppet.signals == ["wake"] for puppet in woken)


def test_the_message_about_a_worker_that_dies_after_the_last_task_names_no_task(
    crew: Supervisor, engine: sqlalchemy.Engine, messages: list[str]
) -> None:
    crew.start(range(1))
    with Worker(DatabaseBackend.open(engine.url, "s"), run=quadratic) as worker:
        worker.work()
    stage(crew).puppets[0].code = -9
    crew.tick()
    crew.tick()
    assert messages == ["worker puppet-0 was killed by signal 9; nothing is left to do\n  log: nowhere"]
    assert not crew.working


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_launch_goes_to_its_workers_and_those_that_stay_are_killed(
    number: int, code: int, kd_sweeps: KdSweeps, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real workers: tests/processes/test_run.py and tests/processes/workers/test_heartbeat.py."""
    requests: list[Request] = []
    puppets = Stage()

    def chosen(name: str, request: Request) -> Stage:
        requests.append(request)
        return puppets

    def signalled(crew: Supervisor) -> None:
        signal.raise_signal(number)
        puppets.puppets[0].code = 0  # it returns its task and ends

    monkeypatch.setattr(launcher, "engine_of", chosen)
    monkeypatch.setattr(launcher, "_POLL_S", 0.0)
    monkeypatch.setattr(Supervisor, "tick", signalled)
    workers.pause(engine, 1)
    url = engine.url.render_as_string()
    ended, _, err = kd_sweeps("launch", "s", "--gpus", "1,2", "--storage", url)
    assert ended == code
    assert [request.gpus for request in requests] == [("1", "2")]
    assert [puppet.signals for puppet in puppets.puppets] == [[number], [number, "kill"]]
    assert f"s is paused: workers wait. To resume: kd-sweeps resume s --storage {url}\n" in err
    assert f"stopped; nothing is lost. To resume: kd-sweeps launch s --gpus 1,2 --storage {url}\n" in err

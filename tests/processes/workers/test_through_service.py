"""Workers without a database: killed, cut off, and with a service that restarts, they do every task once."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.queue import workers
from storage.records import queries
from storage.url import resolve
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from tests.support.faults.bad_network import FAULTS, BadNetwork
from tests.support.faults.crews import Nursery
from tests.support.faults.kills import Kills
from tests.support.faults.storms import count, work_through
from tests.support.launches import environment, launched
from tests.support.present import present
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.planted_sweeps import answer_of, worked
from tests.support.sweeps.small_sweeps import SMALL, created, draw, start_worker, wait_until
from tests.support.web.services import TOKENS, WORKER, Service, serving, serving_program

FEW = {"search.trials": 8, "confirm.top": 2, "confirm.seeds": 2, "transfer.seeds": 2}


@pytest.fixture
def spec() -> Spec:
    return override(SMALL, FEW | {"retry.lost_worker": 0, "retry.database": 0})


@pytest.fixture
def answer(spec: Spec, tmp_path: Path) -> str | None:
    """Return the answer hash that one worker with the database gets without faults."""
    return answer_of(worked(f"sqlite:///{tmp_path}/calm.db", spec))


@pytest.fixture
def service(spec: Spec, tmp_path: Path) -> Iterator[Service]:
    created(at(tmp_path), spec)
    with serving(at(tmp_path), folder=tmp_path, tokens=TOKENS) as service:
        yield service


def at(folder: Path) -> str:
    return f"sqlite:///{folder}/s.db"


def test_randomly_killed_workers_give_the_same_answer(service: Service, answer: str | None, tmp_path: Path) -> None:
    crew = Nursery(service.url, name="s", task_s=0.05)
    with contextlib.closing(crew), contextlib.closing(Kills(at(tmp_path), seed=1)) as kills:
        course = work_through(crew, workers=3, fault=kills, on_end=kills.note)
    print(kills.during)
    assert course.exits[-signal.SIGKILL] >= 3
    assert set(course.exits) == {0, -signal.SIGKILL}
    assert answer_of(at(tmp_path)) == answer is not None
    draw(resolve(at(tmp_path)), "s")
    books = count(at(tmp_path), name="s")
    assert books.clean, books


def test_workers_on_a_bad_network_give_the_same_answer(spec: Spec, answer: str | None, tmp_path: Path) -> None:
    created(at(tmp_path), override(spec, {"lease.interval_s": 2, "lease.grace_s": 50}))  # no lease lapses meanwhile
    with (
        serving(at(tmp_path), folder=tmp_path, tokens=TOKENS) as service,
        BadNetwork(service.port) as network,
        contextlib.closing(Nursery(network.url, name="s")) as crew,
    ):
        course = work_through(crew, workers=2, give_up_s=120)
    print(network.met)
    assert set(network.met) >= set(FAULTS)
    assert set(course.exits) == {0}
    assert answer_of(at(tmp_path)) == answer is not None
    tasks = records(at(tmp_path)).values()
    assert {task.attempt for task in tasks} == {1}, "a repeated request is not another attempt"


def test_workers_wait_for_a_service_that_is_killed_and_restarted(
    spec: Spec, answer: str | None, tmp_path: Path
) -> None:
    created(at(tmp_path), spec)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(serving_program(at(tmp_path), folder=tmp_path, tokens=TOKENS))
        network = stack.enter_context(BadNetwork(first.port, faulty=0.0))
        workers = [start_worker(network.url, seconds=0.1) for _ in range(2)]
        wait_until(lambda: "/finish 200" in first.log, "nothing was finished")
        assert first.process is not None
        first.process.kill()
        first.process.wait()
        with serving_program(at(tmp_path), folder=tmp_path, tokens=TOKENS) as second:
            network.behind = second.port
            for worker in workers:
                worker.join(120)
            assert [worker.exitcode for worker in workers] == [0, 0]
    assert answer_of(at(tmp_path)) == answer is not None


def test_a_launch_through_a_service_replaces_dead_workers_and_gives_the_same_answer(
    service: Service, answer: str | None, tmp_path: Path
) -> None:
    # One task kills its worker, one raises, and each prints its environment: no log may contain the token.
    misbehave = """
        if claim.key == "search#1" and once("killed"): os.kill(os.getpid(), 9)
        if claim.key == "search#2" and once("raised"): raise ValueError(os.environ["KD_SWEEPS_TOKEN"])
        print(dict(os.environ), flush=True)
    """
    env = environment(tmp_path / "home", resolve("sqlite:///none.db"), misbehave)
    env |= {"KD_SWEEPS_STORAGE": "", "KD_SWEEPS_URL": service.url, "KD_SWEEPS_TOKEN": WORKER}
    code, output = launched(env, timeout=400)
    assert code == 0, output
    assert f"service {service.url}" in output
    assert "was killed by signal 9; its task is back in the queue; starting another" in output
    assert "finished. Next: kd-sweeps best s" in output
    assert answer_of(at(tmp_path)) == answer is not None
    with open_sweep(at(tmp_path), "s") as (engine, sweep):
        first, second = present(queries.attempts_of(engine, sweep.id, "search#1"))
        raised, _ = present(queries.attempts_of(engine, sweep.id, "search#2"))
        rows = workers.records(engine, sweep.id)
    assert (first.state, first.error_class, second.state) == ("lost", "lost worker", "done")
    assert "attempt 1" in present(first.log)
    assert raised.reason == "ValueError: ***"
    assert {row.reason for row in rows} == {None, "was killed by signal 9"}
    stored = "".join(present(attempt.log) for attempt in (second, raised))
    assert "KD_SWEEPS_TOKEN" in stored
    assert WORKER not in output + stored + service.log

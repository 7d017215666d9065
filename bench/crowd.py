"""How much load do many workers put on one Postgres? Processes that claim, save a point, finish, and train nothing.

    python bench/crowd.py [--workers N ...] [--tasks N] [--lag N] [--page FILE]

Replaces the section "A crowd of workers" of bench/results/results.md, the basis of docs/how-to/scaling.md.
"""

import contextlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the Postgres server of the tests

from storage.db.engine import open_engine
from storage.queue import tasks, workers
from storage.records import queries
from storage.url import resolve
from support.page import Origin, make_parser, table, write_section
from tests.support.postgres_server import ROLE, PostgresServer, running_server
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "psycopg"])
_LEASE_S = 3600.0
_TIMES = 300  # measurements of a renewal and of an idle poll
POINT = {"temperature": 3.0, "alpha": 0.4}
# As large as the outcome of a trial of three epochs.
OUTCOME = {
    "trial": {"value": 0.5, "attrs": {"test_accuracy": 0.5, "parameters": 20_490}, "epoch_values": [0.3, 0.4, 0.5]},
    "provenance": {"versions": dict.fromkeys("abcdefgh", "1.23.4"), "git_commit": "0" * 40, "cpu": "x" * 40},
    "data": {"content_hash": "0" * 64},
    "val_accuracy": 0.5,
    "train_s": 3.0,
}


@dataclass(frozen=True)
class Share:
    """The work of one worker, seconds. first: until its first claim."""

    tasks: int
    first: float
    wall: float
    cpu: float


_start: Any = None  # the barrier of all workers


def _enter(barrier: Any) -> None:
    global _start
    _start = barrier


def work(url: str, sweep: int) -> Share:
    """Do tasks until none is left, starting when all workers are connected."""
    engine, me, first, number = open_engine(resolve(url), connections=1), f"worker-{os.getpid()}", 0.0, 0
    workers.sign_in(engine, sweep, me, host="h", pid=os.getpid(), provenance={})
    _start.wait(600)
    began, cpu = time.monotonic(), time.process_time()
    while (claim := tasks.claim(engine, sweep, worker=me, host="h", pid=1, lease_s=_LEASE_S)) is not None:
        first, number = first or time.monotonic() - began, number + 1
        tasks.save_point(engine, claim, POINT)
        tasks.finish(engine, claim, outcome=OUTCOME, score=0.5, log="a line of its log\n" * 20)
    share = Share(number, first, time.monotonic() - began, time.process_time() - cpu)
    engine.dispose()
    return share


class Watch:
    """Measures the processes of a server: CPU time, write-ahead log, waits."""

    def __init__(self, server: PostgresServer) -> None:
        with server.admin() as connection:
            path = connection.execute("SELECT current_setting('data_directory')").fetchone()
        self._root = int((Path((path or [""])[0]) / "postmaster.pid").read_text().split()[0])
        self._server = server

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes, including those that have ended."""
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(folder.name) == self._root:
                    ticks += sum(map(int, fields[11:15]))
                elif int(fields[1]) == self._root:
                    ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def wal_bytes(self) -> int:
        with self._server.admin() as connection:
            row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
        return int((row or [0])[0])

    def waits(self) -> Counter[str]:
        """Count what active connections are waiting for."""
        query = "SELECT coalesce(wait_event_type || ':' || wait_event, 'computing') FROM pg_stat_activity"
        with self._server.admin() as connection:
            rows = connection.execute(f"{query} WHERE usename = %s AND state = 'active'", [ROLE]).fetchall()
        return Counter(str(row[0]) for row in rows)


def crowd(server: PostgresServer, watch: Watch, *, number: int, count: int, lag: int) -> tuple[str, ...]:
    """Run `number` workers on `count` tasks; return the row of the table."""
    url = server.new_database()
    with new_storage(url) as engine:
        sweep = new_sweep(engine, {"search": ((f"lag:{lag}:0",) if lag else (), 1, count)})
    barrier, waits = _CONTEXT.Barrier(number + 1), Counter[str]()
    with ProcessPoolExecutor(number, _CONTEXT, initializer=_enter, initargs=(barrier,)) as pool:
        ended = [pool.submit(work, url, sweep) for _ in range(number)]
        barrier.wait(600)
        began, cpu, wal = time.monotonic(), watch.cpu_s(), watch.wal_bytes()
        while not all(each.done() for each in ended):
            waits += watch.waits()
            time.sleep(0.2)
        shares = [each.result() for each in ended]
        used, written = watch.cpu_s() - cpu, watch.wal_bytes() - wal
    assert sum(share.tasks for share in shares) == count, "a task was done twice, or not at all"
    wall = max(share.wall for share in shares)
    print(f"{number} workers: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return (
        str(number),
        f"{count:,}",
        f"{count / wall:.0f}",
        f"{median(share.first for share in shares if share.tasks):.2f}",
        f"{1000 * sum(share.cpu for share in shares) / count:.1f}",
        f"{1000 * used / count:.1f}",
        f"{written / count / 1000:.1f}",
        ", ".join(f"{name} {times}" for name, times in waits.most_common(3)),
    )


def idle(server: PostgresServer, watch: Watch) -> str:
    """Measure a renewal of a lease and an idle poll."""
    url = server.new_database()
    with new_storage(url) as engine:
        sweep = new_sweep(engine, number=1)
        claim = tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=_LEASE_S)
        assert claim is not None

        def poll() -> None:
            tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=_LEASE_S)
            queries.outlook(engine, sweep)
            workers.take_repair(engine, sweep, "w", every_s=_LEASE_S)

        renewal, nothing = (_cost(watch, act) for act in (lambda: tasks.renew(engine, claim, _LEASE_S), poll))
    return f"A renewal takes {renewal:.2f} ms of the server's CPU, a poll of an idle worker {nothing:.2f} ms."


def _cost(watch: Watch, act: Callable[[], object]) -> float:
    act()
    before = watch.cpu_s()
    for _ in range(_TIMES):
        act()
    return 1000 * (watch.cpu_s() - before) / _TIMES


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64], metavar="N", help="(1 8 64)")
    parser.add_argument("--tasks", type=int, default=2000, metavar="N", help="of each crowd (default: 2000)")
    parser.add_argument("--lag", type=int, default=0, metavar="N", help="lag of the search (default: 0, none)")
    options = parser.parse_args()
    origin = Origin()
    with running_server(max_connections=max(options.workers) + 20) as server:
        watch = Watch(server)
        load = {"count": options.tasks, "lag": options.lag}
        rows = [crowd(server, watch, number=number, **load) for number in options.workers]
        waiting = idle(server, watch)
    heads = ("workers", "tasks", "tasks per s", "first claim s p50", "worker ms", "server ms", "WAL KB", "waits seen")
    text = f"""{origin}
Milliseconds of CPU and kilobytes of write-ahead log per task; the server runs on the same machine without syncing to
disk. `waits seen`: what its connections were waiting for, sampled five times a second.

{table(heads, rows)}

{waiting}
"""
    write_section("A crowd of workers", text, path=options.page)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

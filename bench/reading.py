"""How long do the reading commands take on a sweep of 10,000 tasks? Each runs as a separate process.

    python bench/reading.py [--tasks N] [--runs N] [--only sqlite|postgres] [--page FILE]

Replaces the section "Reading commands" of bench/results/results.md. Exits with 1 if a target was missed.
"""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the Postgres server of the tests

from storage.url import resolve
from support.page import Origin, make_parser, table, write_section
from support.sweeps import KINDS, opened, write_finished

NAME = "reading"
TARGET_S = 1.0  # wall-clock, median
COMMANDS = {
    "status": ("status", NAME),
    "best": ("best", NAME),
    "trials": ("trials", NAME),
    "report": ("report", NAME),
    "list": ("list",),
}


@dataclass
class Reading:
    """One command on one database; seconds per run."""

    database: str
    command: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    lines: int = 0

    @property
    def met(self) -> bool:
        return median(self.wall) <= TARGET_S


def read(reading: Reading, arguments: tuple[str, ...], url: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KD_SWEEPS", "OPTUNA"))}
    before, began = _children_s(), time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "sweeps.cli", *arguments],
        env=environment | {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    reading.wall.append(time.monotonic() - began)
    reading.cpu.append(_children_s() - before)
    reading.lines = len(result.stdout.splitlines())
    if result.returncode:
        raise SystemExit(f"{' '.join(arguments)} on {reading.database} ended with {result.returncode}: {result.stderr}")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def page(readings: list[Reading], counts: dict[str, int], origin: Origin) -> str:
    rows, verdicts = [], []
    for reading in readings:
        name, wall = f"`{reading.command}`", f"{median(reading.wall):.2f}"
        most, cpu = f"{max(reading.wall):.2f}", f"{median(reading.cpu):.2f}"
        rows.append((reading.database, name, f"{reading.lines:,}", wall, most, cpu))
        met = "met" if reading.met else "missed"
        verdicts.append(f"- {reading.database}, {name}: {wall} s, target at most {TARGET_S:g} s: **{met}**")
    lines = "\n".join(verdicts)
    runs = len(readings[0].wall)
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    return f"""{origin}
A sweep of {sum(counts.values()):,} tasks ({states}), written straight into the
database with outcomes as training stores them. Each command runs {runs} times as a separate process; seconds from its
start to its end, including Python's start and imports.

{table(("database", "command", "lines printed", "wall s p50", "wall s max", "CPU s p50"), rows)}

{lines}
"""


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--tasks", type=int, default=10_000, metavar="N", help="of the sweep (default: 10000)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each command (default: 5)")
    parser.add_argument("--only", choices=KINDS, help="one database instead of both")
    options = parser.parse_args()
    origin, readings = Origin(), list[Reading]()
    counts: dict[str, int] = {}
    for kind in [options.only] if options.only else KINDS:
        with opened(kind) as database:
            url = database.new()
            began = time.monotonic()
            counts = write_finished(resolve(url), NAME, tasks=options.tasks)
            print(f"{database.name}: sweep written in {time.monotonic() - began:.0f} s", file=sys.stderr)
            for command, arguments in COMMANDS.items():
                reading = Reading(database.name, command)
                for _ in range(options.runs):
                    read(reading, arguments, url)
                print(f"{database.name}, {command}: {median(reading.wall):.2f} s", file=sys.stderr, flush=True)
                readings.append(reading)
    text = page(readings, counts, origin)
    write_section("Reading commands", text, path=options.page)
    print(text)
    return 0 if all(reading.met for reading in readings) else 1


if __name__ == "__main__":
    sys.exit(main())

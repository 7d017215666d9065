"""How much does the queue cost per trial, apart from the sampler? Real workers on real databases, without training.

    python bench/overhead.py [--trials N] [--finished N ...] [--workers N ...] [--only sqlite|postgres] [--page FILE]

In the same run: Optuna's own `study.optimize`, and the time of the mirror to draw the same trials afterwards. Replaces
the section "Service overhead" of bench/results/results.md. Exits with 1 if a target was missed.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the Postgres server of the tests

from storage.url import resolve
from support.page import Origin, make_parser, table, write_section
from support.steps import STEPS, Drawn, Timings, draw, idle_statements, optimize, run_crew
from support.sweeps import EPOCHS, KINDS, Database, opened, write_search
from sweeps.distill.presets import preset
from sweeps.spec.model import override
from sweeps.usecases import create, steering

NAME = "overhead"
TARGET_MS = {"SQLite": 9.0, "Postgres": 15.0}  # overhead, p50, one worker
TARGET_GROWTH = 1.3  # from the fewest to the most finished trials
TARGET_CATCH_UP_S = 60.0  # of a mirror with a full queue
QUEUE = 2_000  # attempts; their time is extrapolated from those drawn
ROUNDS = 5
ATTRIBUTES = (0, 7)  # per trial of `study.optimize`: none, and as many as this package once stored
MOST_OPTIMIZED = 1_000  # finished trials of that study, which are written one by one
IDLE_S = 30.0


@dataclass
class Case:
    """One number of workers on one size of search. Milliseconds per trial, except `seconds`.

    Attributes:
        finished: trials of the search before the measurement.
        runs: the times of each worker.
        seconds: from the common start to the end of the last worker.
        drawn: the times of the mirror afterwards.
    """

    database: str
    finished: int
    workers: int
    runs: list[Timings] = field(default_factory=list)
    seconds: float = 0.0
    drawn: list[Drawn] = field(default_factory=list)

    def step(self, name: str) -> list[float]:
        return [trial[name] for run in self.runs for trial in run.trials]

    @property
    def totals(self) -> list[float]:
        """Time of every trial from the claim to its stored outcome."""
        return [sum(trial.values()) for run in self.runs for trial in run.trials]

    @property
    def cpu(self) -> list[float]:
        """CPU time of the worker in every trial, without the database server."""
        return [spent for run in self.runs for spent in run.cpu]

    @property
    def sampler(self) -> list[float]:
        """Time in the sampler of every trial."""
        return [took for run in self.runs for took in run.sampler]

    @property
    def overhead(self) -> float:
        """The p50 of the total beyond the sampler's own time."""
        return median(total - sampler for total, sampler in zip(self.totals, self.sampler, strict=True))

    @property
    def mirror_ms(self) -> float:
        """Wall time per trial."""
        return 1000 * sum(drawn.seconds for drawn in self.drawn) / sum(drawn.attempts for drawn in self.drawn)

    @property
    def mirror_cpu_ms(self) -> float:
        return 1000 * sum(drawn.cpu for drawn in self.drawn) / sum(drawn.attempts for drawn in self.drawn)


def measure(database: Database, sizes: Sequence[int], crews: Sequence[int], trials: int) -> Iterator[Case]:
    """Run every number of workers on copies of one search of each size, where TPE proposes the next trials."""
    searches = {finished: _finished_search(database, finished) for finished in sizes}
    for workers in crews:
        cases = [Case(database.name, finished, workers) for finished in sizes]
        rounds = max(1, min(ROUNDS, trials // 20)) if workers == 1 else 1
        for _ in range(rounds):  # in turns, so that other load affects small and large cases alike
            for case in cases:
                _run(case, database.copy(searches[case.finished]), max(2, trials // workers // rounds))
        yield from cases


def _finished_search(database: Database, finished: int) -> str:
    """Create a sweep in which that many trials have finished, and none proposed by TPE has begun; return its URL."""
    url = database.new()
    write_search(resolve(url), NAME, finished)
    return url


def _run(case: Case, url: str, each: int) -> None:
    """Let each worker of the case do `each` tasks, after one that is not measured."""
    steering.extend(resolve(url), NAME, trials=case.workers * (each + 1), seeds=0)
    runs = run_crew(url, NAME, workers=case.workers, tasks=each)
    case.runs += runs
    case.seconds += max(run.ended for run in runs) - min(run.began for run in runs)
    case.drawn.append(draw(url, NAME))


def idle(database: Database) -> float:
    """Count the statements per minute of one worker that waits."""
    url = database.new()
    create.create_sweep(resolve(url), NAME, override(preset("tiny"), {"search.trials": 2}))
    steering.pause(resolve(url), NAME)
    return idle_statements(url, NAME, seconds=IDLE_S)


Peer = dict[tuple[str, int, int], list[float]]  # ms per trial, by database, finished trials, attributes


def peers(database: Database, sizes: Sequence[int], trials: int) -> Peer:
    took = {size: optimize(database.new(), size, trials, ATTRIBUTES) for size in sizes if size <= MOST_OPTIMIZED}
    return {
        (database.name, finished, attributes): values
        for finished, by_attributes in took.items()
        for attributes, values in by_attributes.items()
    }


def last_lines(cases: list[Case]) -> Iterator[str]:
    """Yield the figures to compare between runs."""
    alone = [case for case in cases if case.workers == 1]
    if alone:
        finished = min({case.finished for case in alone}, key=lambda size: abs(size - 1_000))
        values = ", ".join(f"{case.database} {case.overhead:.1f} ms" for case in alone if case.finished == finished)
        yield f"overhead p50, {finished:,} trials: {values}"


def page(cases: list[Case], optuna: Peer, idle: dict[str, float], origin: Origin) -> str:
    heads = ("database", "finished trials", *STEPS, "total", "worker's CPU", "in the sampler", "overhead p50", "n")
    steps = [
        (
            case.database,
            f"{case.finished:,}",
            *(_p50_p95(case.step(name)) for name in STEPS),
            *map(_p50_p95, (case.totals, case.cpu, case.sampler)),
            f"{case.overhead:.1f}",
            len(case.totals),
        )
        for case in cases
        if case.workers == 1
    ]
    crowds = [
        (
            case.database,
            f"{case.finished:,}",
            case.workers,
            _p50_p95(case.totals),
            f"{len(case.totals) / case.seconds:.0f}",
            len(case.totals),
        )
        for case in cases
    ]
    first = ("database", "finished trials", "workers", "ms per trial", "trials per s", "n")
    mirror = [
        (case.database, f"{case.finished:,}", case.workers, f"{case.mirror_ms:.1f}", f"{case.mirror_cpu_ms:.1f}")
        for case in cases
    ]
    optimized = [
        (name, f"{finished:,}", attributes, _p50_p95(took), len(took))
        for (name, finished, attributes), took in optuna.items()
    ]
    waits = ", ".join(f"{name} {count:.0f}" for name, count in idle.items())
    verdicts = "\n".join(f"- {text}" for text, _ in targets(cases))
    ends = "\n".join(last_lines(cases))
    return f"""{origin}
Milliseconds per trial, p50 / p95, of one worker whose tasks take no time: only the training is left
out. Every trial is proposed by TPE and has {EPOCHS} epoch values. `start` includes the sampler, and `overhead` is the
total beyond the sampler's own time.

{table(heads, steps)}

For comparison, Optuna's own `study.optimize`, TPE with two parameters and that many attributes, p50 / p95:

{table(("database", "finished trials", "attributes", "ms per trial", "n"), optimized)}

The mirror, which draws the same trials afterwards, per trial. During a sweep it uses at most a quarter of each second.

{table(("database", "finished trials", "workers before", "ms", "CPU ms, without the server"), mirror)}

Workers without a mirror, each a separate process. No one wakes a worker that waits, as a launch would: a search gives
work to `search.lag` of them at once. bench/crowd.py measures many.

{table(first, crowds)}

{verdicts}

Statements per minute of a worker that waits, with lease intervals of 10 s: {waits}.

{ends}
"""


def targets(cases: list[Case]) -> Iterator[tuple[str, bool]]:
    for name, limit in TARGET_MS.items():
        overheads = {case.finished: case.overhead for case in cases if case.workers == 1 and case.database == name}
        for finished, overhead in overheads.items():
            text = f"{name}, {finished:,} finished trials: {overhead:.1f} ms of overhead, target {limit:.0f} ms"
            yield _verdict(text, met=overhead <= limit)
        if len(overheads) > 1:
            low, high = min(overheads), max(overheads)
            growth = overheads[high] / overheads[low]
            text = f"{name}, from {low:,} to {high:,}: {growth:.2f} times, target {TARGET_GROWTH} times"
            yield _verdict(text, met=growth <= TARGET_GROWTH)
        if drawn := [case.mirror_ms for case in cases if case.database == name]:
            seconds = QUEUE * max(drawn) / 1000
            text = f"{name}, {QUEUE:,} trials by the mirror: {seconds:.0f} s, target {TARGET_CATCH_UP_S:.0f} s"
            yield _verdict(text, met=seconds <= TARGET_CATCH_UP_S)


def _verdict(text: str, *, met: bool) -> tuple[str, bool]:
    return f"{text}: **{'met' if met else 'missed'}**", met


def _p50_p95(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{median(values):.1f} / {quantiles(values, n=20, method='inclusive')[-1]:.1f}"


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="measured in each case (default: 200)")
    parser.add_argument(
        "--finished", type=int, nargs="+", default=[100, 1000, 10_000], metavar="N", help="(100 1000 10000)"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8], metavar="N", help="(1 8)")
    parser.add_argument("--only", choices=KINDS, help="one database instead of both")
    options = parser.parse_args()
    origin, cases, optuna, waits = Origin(), list[Case](), Peer(), dict[str, float]()
    for kind in [options.only] if options.only else KINDS:
        with opened(kind) as database:
            waits[database.name] = idle(database)
            optuna |= peers(database, options.finished, options.trials)
            for case in measure(database, options.finished, options.workers, options.trials):
                cases.append(case)
                text = f"{case.database}, {case.finished} finished, {case.workers} workers: {_p50_p95(case.totals)} ms"
                print(text, file=sys.stderr, flush=True)
    text = page(cases, optuna, waits, origin)
    write_section("Service overhead", text, path=options.page)
    print(text)
    return 0 if all(met for _, met in targets(cases)) else 1


if __name__ == "__main__":
    sys.exit(main())

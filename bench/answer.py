"""How good is the answer? Whole sweeps again and again: does the interval of the regret hold, and what does it cost?

    python bench/answer.py [--part calibration|precision|constants] [--runs N] [--sweeps N]

calibration: preset quick without its baselines, with other sweep seeds: other searches, other seeds, other teachers.
How often does the interval of one run hold the mean of the others, and do two runs say the same word?
precision: one sweep that is extended by searches until the interval is narrow enough; counts the core-seconds from
nothing, teachers included.
constants: sweeps drawn from the recorded surfaces, as in bench/null.py. How often does a point that nobody tuned get
the word? Every sweep is kept in bench/results/answer.part, so the same command goes on after Ctrl-C;
its numbers go to bench/results/answer.csv, the page to bench/results/answer.md.
"""

import argparse
import csv
import itertools
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from storage.url import resolve
from support.page import FOLDER, Origin, table, write_section
from support.surfaces import read_surface
from support.whole_sweeps import Sweeps, world
from sweeps.analysis.findings import Findings
from sweeps.analysis.load import load
from sweeps.api import create_sweep, launch
from sweeps.query.opening import open_sweep
from sweeps.report.formats import interval
from sweeps.service.steering import extend
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.stats.estimates import estimate
from sweeps.stats.verdict import LEVELS, RULE, decide

HALF_WIDTH = 0.25  # accuracy points
STEP = 3  # searches that are added at a time
CONSTANTS = ("default-keras", "default-keras-io")
MARGINS = (1.0, 0.5)
MOST = 16  # searches: as many as the three declared looks reach
CALIBRATION: Mapping[str, Any] = {"baselines.methods": []}
# Nothing but the regret: the two arms that it is made of, and searches that are all alike.
PRECISION: Mapping[str, Any] = CALIBRATION | {
    "search.trials": 8,
    "confirm.rounds": [[3, 1]],
    "transfer.seeds": 4,
    "transfer.other_seeds": 0,
    "transfer.source_arms": ["best"],
    "transfer.target_arms": ["best", "native"],
    "outer.searches": 10,
    "outer.trials": 0,
    "outer.rounds": [],
    "outer.seeds": 0,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one finished sweep said, and the commit that trained it.

    All differences are accuracy points. core_s: CPU seconds of all its processes; seconds: wall.
    """

    part: str
    seed: int
    searches: int
    regret: float
    low: float
    high: float
    by_seeds: float
    by_search: float
    word: str
    gain_source: str
    gain_target: str
    matters_source: str
    matters_target: str
    best: str
    native: str
    answer_hash: str
    commit: str
    core_s: float
    seconds: float

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the regret."""
        return (self.high - self.low) / 2


class Records:
    """The runs of a CSV file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.runs: list[Run] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                self.runs = [
                    Run(**{one.name: _typed(one.type, row[one.name]) for one in fields(Run)})
                    for row in csv.DictReader(file)
                ]

    def find(self, part: str) -> list[Run]:
        """Return the runs of a part, as they were made."""
        return [run for run in self.runs if run.part == part]

    def append(self, run: Run) -> None:
        """Add a run to the file."""
        self.runs.append(run)
        self._write()

    def read_again(self, storage: str) -> None:
        """Ask the kept sweeps of the calibration again: a new rule says something else of the same trainings."""
        kept = {run: f"{run.part}-{run.seed}" for run in self.find("calibration")}
        for run, name in kept.items():
            again = _said(run.part, name, storage, core_s=run.core_s, seconds=run.seconds)
            self.runs[self.runs.index(run)] = again
        self._write()

    def _write(self) -> None:
        with self._path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [one.name for one in fields(Run)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(one) for one in self.runs)


def _typed(kind: Any, text: str) -> Any:
    return {int: int, float: float}.get(kind, str)(text)


def calibrate(records: Records, storage: str, runs: int) -> None:
    """Run what is missing of so many sweeps with other sweep seeds."""
    done = {run.seed for run in records.find("calibration")}
    for seed in range(1, runs + 1):
        if seed not in done:
            name = f"calibration-{seed}"
            create_sweep(name, changes=CALIBRATION | {"seed": seed}, storage=storage)
            records.append(_worked("calibration", name, storage))


def sharpen(records: Records, storage: str, seed: int) -> None:
    """Extend one sweep by searches until the regret is known within HALF_WIDTH."""
    name = f"precision-{seed}"
    known = [run for run in records.find("precision") if run.seed == seed]
    if not known:
        create_sweep(name, changes=PRECISION | {"seed": seed}, storage=storage)
        known.append(_worked("precision", name, storage))
        records.append(known[-1])
    while known[-1].half_width > HALF_WIDTH and known[-1].searches < MOST:
        with open_sweep(storage, name) as (_, sweep):
            planned = sweep.spec["outer"]["searches"]
        if planned == known[-1].searches:
            extend(resolve(storage), name, searches=STEP)
        known.append(_worked("precision", name, storage, before=known[-1]))
        records.append(known[-1])


def _worked(part: str, name: str, storage: str, before: Run | None = None) -> Run:
    """Work on a sweep until it is finished; return what it says."""
    began, used = time.perf_counter(), _cpu_seconds()
    code = launch(name, storage=storage)
    if code != 0:
        raise SystemExit(f"answer.py: launch of {name} ended with {code}; the same command goes on")
    core_s, seconds = _cpu_seconds() - used, time.perf_counter() - began
    if before is not None:
        core_s, seconds = core_s + before.core_s, seconds + before.seconds
    return _said(part, name, storage, core_s=core_s, seconds=seconds)


def _said(part: str, name: str, storage: str, *, core_s: float, seconds: float) -> Run:
    """Return what a finished sweep says."""
    with open_sweep(storage, name) as (engine, sweep):
        found = load(engine, sweep)
    (target,) = found.verdicts
    assert target.regret is not None
    assert target.verdict is not None
    regret = target.regret.estimate
    assert regret.low is not None
    assert regret.high is not None
    return Run(
        part=part,
        seed=found.spec.seed,
        searches=target.regret.searches,
        regret=regret.mean,
        low=regret.low,
        high=regret.high,
        by_seeds=target.regret.by_seeds or 0.0,
        by_search=target.regret.by_search or 0.0,
        word=target.verdict.word,
        gain_source=_gain(found, "source"),
        gain_target=_gain(found, "target"),
        matters_source=_matters(found, 0),
        matters_target=_matters(found, 1),
        best=_point(found, "source"),
        native=_point(found, "target"),
        answer_hash=found.answer_hash or "",
        commit=" ".join(sorted({one.commit[:12] for one in found.provenance.machines if one.commit})),
        core_s=core_s,
        seconds=seconds,
    )


def _cpu_seconds() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _gain(found: Findings, role: str) -> str:
    gain = found.difference("best - scratch", found.spec.role(role).dataset)
    return "" if gain is None else interval(gain)


def _matters(found: Findings, number: int) -> str:
    top = found.surfaces[number].top
    return "" if top is None else f"{top.word}: {top.share:.0%} [{top.low:.0%}, {top.high:.0%}]"


def _point(found: Findings, role: str) -> str:
    point = found.confirmed[role].best.point
    return f"{point.temperature:.3g}, {point.alpha:.3g}"


def calibration_page(runs: Sequence[Run], origin: Origin) -> str:
    """Return the section of the calibration."""
    heads = ["sweep seed", "regret", "by seeds", "by search", "holds the mean of the others", "word", "best", "native"]
    heads += [
        "gain on the source",
        "gain on the target",
        "T, alpha on the source",
        "T, alpha on the target",
        "core-s",
        "s",
    ]
    held = [_held(run, runs) for run in runs]
    rows = [
        [
            run.seed,
            f"{run.regret:+.2f} [{run.low:+.2f}, {run.high:+.2f}]",
            f"±{run.by_seeds:.2f}",
            f"±{run.by_search:.2f}",
            "yes" if one else "no",
            run.word,
            run.best,
            run.native,
            run.gain_source,
            run.gain_target,
            run.matters_source,
            run.matters_target,
            f"{run.core_s:.0f}",
            f"{run.seconds:.0f}",
        ]
        for run, one in zip(runs, held, strict=True)
    ]
    pairs = list(itertools.combinations([run.word for run in runs], 2))
    agree = sum(one == other for one, other in pairs)
    whole = estimate([run.regret for run in runs])
    spread = stdev(run.regret for run in runs)
    said = [
        f"- The interval holds the mean of the other runs in {sum(held)} of {len(runs)}.",
        f"- Two runs say the same word in {agree} of {len(pairs)} pairs ({agree / len(pairs):.0%}).",
        f"- Mean regret {interval(whole)}; sd between runs {spread:.2f}, mean half-width"
        f" {fmean(run.half_width for run in runs):.2f}.",
        f"- Distillation's gain is proven (its interval is above 0) on the source in {_proven(runs, 'gain_source')}, on"
        f" the target in {_proven(runs, 'gain_target')} of {len(runs)}; T and alpha matter on the source in"
        f" {_say(runs, 'matters_source')}, on the target in {_say(runs, 'matters_target')}.",
    ]
    trained = f"Trained at commit {', '.join(sorted({run.commit for run in runs}))}."
    return "\n\n".join([str(origin), trained, "\n".join(said), table(heads, rows)])


def _held(run: Run, runs: Sequence[Run]) -> bool:
    return run.low <= fmean(other.regret for other in runs if other.seed != run.seed) <= run.high


def _proven(runs: Sequence[Run], name: str) -> int:
    return sum("[+" in getattr(run, name) for run in runs)


def _say(runs: Sequence[Run], name: str) -> int:
    return sum(getattr(run, name).startswith("matters") for run in runs)


def precision_page(runs: Sequence[Run], origin: Origin) -> str:
    """Return the section of the precision; its last line is the number."""
    heads = ["sweep seed", "searches", "regret", "by seeds", "by search", "half-width", "core-s", "s"]
    rows = [
        [
            run.seed,
            run.searches,
            f"{run.regret:+.2f} [{run.low:+.2f}, {run.high:+.2f}]",
            f"±{run.by_seeds:.2f}",
            f"±{run.by_search:.2f}",
            f"{run.half_width:.2f}",
            f"{run.core_s:.0f}",
            f"{run.seconds:.0f}",
        ]
        for run in runs
    ]
    reached = [run.core_s for run in runs if run.half_width <= HALF_WIDTH]
    last = f"core-seconds to +-{HALF_WIDTH} = " + (f"{fmean(reached):.0f}" if reached else "not reached")
    return "\n\n".join([str(origin), table(heads, rows), last])


def constants_page(sweeps: int, origin: Origin) -> str:
    """Return the section that puts a constant in the place of best."""
    source, target = (world(read_surface(FOLDER / f"surface-{name}.csv")) for name in ("mnist", "cifar10"))
    fixed = [DEFAULT_POINTS[arm] for arm in CONSTANTS]
    drawn = Sweeps(target, sweeps=sweeps, searches_each=5, seed=1, fixed=fixed)
    chosen = {"tuned on MNIST": drawn.best(source)}
    chosen |= {f"`{arm}`, {fixed[number].text()}": drawn.fixed(number) for number, arm in enumerate(CONSTANTS)}
    rules = list(itertools.product(dict.fromkeys((1, RULE)), MARGINS))
    rows = []
    for name, best in chosen.items():
        searches = [drawn.arms(best, sweep) for sweep in range(sweeps)]
        shares = [
            fmean(
                verdict.word == "TRANSFERS"
                for one in searches
                if (verdict := decide(one, margin=margin, level=LEVELS[rule][3][0], rule=rule))
            )
            for rule, margin in rules
        ]
        rows.append([name, f"{drawn.regrets(best).mean():+.2f}", *(f"{share:.0%}" for share in shares)])
    heads = ["`best` is", "true regret", *(f"TRANSFERS at {margin:g}, rule {rule}" for rule, margin in rules)]
    return "\n\n".join(
        [str(origin), f"{sweeps:,} sweeps of five searches, the first look. {_CONSTANTS}", table(heads, rows)]
    )


_CONSTANTS = """Where a point that nobody tuned gets the word as often as the tuned one, the word is no evidence that
tuning was needed: the margin is coarse. The ten sweeps of the calibration were judged by rule 1."""


def main() -> int:
    """Run what is missing, write the sections, print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("calibration", "precision", "constants"), help="only this one")
    parser.add_argument(
        "--runs", type=int, default=10, metavar="N", help="sweep seeds of the calibration (default: 10)"
    )
    parser.add_argument("--sweeps", type=int, default=1500, metavar="N", help="of the constants (default: 1500)")
    options = parser.parse_args()
    if options.runs < 3:
        parser.error(f"--runs: got {options.runs}, allowed is a whole number >= 3")
    kept = FOLDER / "answer.part"
    kept.mkdir(exist_ok=True)
    (kept / ".gitignore").write_text("*\n")
    storage, records, origin = f"sqlite:///{kept / 'answer.db'}", Records(FOLDER / "answer.csv"), Origin()
    page = FOLDER / "answer.md"
    if (kept / "answer.db").exists():
        records.read_again(storage)
    if options.part in (None, "calibration"):
        calibrate(records, storage, options.runs)
    if options.part in (None, "precision"):
        for seed in (1, 2):
            sharpen(records, storage, seed)
    pages = {
        part: write(found, origin)
        for part, write in (("calibration", calibration_page), ("precision", precision_page))
        if options.part in (None, part) and (found := records.find(part))
    }
    if options.part in (None, "constants"):
        pages["constants"] = constants_page(options.sweeps, origin)
    for part, text in pages.items():
        write_section(f"The answer: {part}", text, path=page)
        print(text, end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Does the advice hold? Ten sweeps of preset quick that differ only in their seed, compared with all together.

    python bench/studies/calibration.py [--part NAME ...] [--list | --declare | --page] [--storage DIR] [--workers N]

A part is one sweep. Question and formulas are in bench/results/studies/calibration/declared.md, written before the
first training; the page is computed from the CSVs alone.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

from support.page import interval, table
from support.parts import Done, Part, Study, Training, Trainings, main, origins
from sweeps.distill.presets import preset
from sweeps.report.figures.forest import Mark, Panel
from sweeps.stats.advice import STRATEGIES, Choice, Runs, StrategyName, Use, advise, beyond_margin, over_searches
from sweeps.stats.estimates import Estimate, estimate, ratio, t_quantile

TARGET = "cifar10"
SEEDS = range(2900, 2910)
ARMS: Mapping[Use, str] = {
    "default": "default-keras",
    "elsewhere": "best",
    "here": "native",
    "untreated": "scratch-own",
}
MARGIN = preset("quick").transfer
HALF_WIDTH = 0.10  # of a share, the precision whose core-seconds are counted
IDLE = 2.0  # a lower load of two cores before the start means that they were idle


def changes(seed: int, done: Done, place: Path) -> Mapping[str, Any]:
    """Return the changes of preset quick: without other methods, which do not affect the advice and cost a fifth."""
    return {"seed": seed, "baselines.methods": []}


def searches(trained: Trainings) -> list[Runs]:
    """Return the test accuracies of each search on the target, in points, by strategy and repeat."""
    compared = [row for row in trained if (row.stage, row.dataset) == ("transfer", TARGET) and row.test is not None]
    return [
        {use: {row.repeat: 100 * (row.test or 0.0) for row in _of(compared, number, arm)} for use, arm in ARMS.items()}
        for number in sorted({row.search for row in compared})
    ]


def _of(compared: Sequence[Training], search: int, arm: str) -> list[Training]:
    return [row for row in compared if (row.search, row.arm) == (search, arm)]


def advice(runs: Sequence[Runs]) -> Choice:
    choice = advise(runs, margin=MARGIN.margin, margin_share=MARGIN.margin_share, looks=MARGIN.looks)
    assert choice is not None
    return choice


def share(runs: Sequence[Runs], strategy: StrategyName) -> Estimate | None:
    """Return the share of the gain of tuning here that a strategy keeps, over searches, with Fieller's interval."""
    kept, gained = (over_searches(runs, use, "untreated") for use in (strategy, "here"))
    both = sorted(kept.keys() & gained.keys())
    return ratio([kept[n] for n in both], [gained[n] for n in both])


def beyond(runs: Sequence[Runs], strategy: StrategyName) -> Estimate:
    """Return the loss of a strategy beyond the margin over these searches; too large if low is above 0."""
    lost, gains = (over_searches(runs, "here", other) for other in (strategy, "untreated"))
    value = estimate(beyond_margin(lost, gains, margin=MARGIN.margin, share=MARGIN.margin_share))
    assert value is not None
    return value


def core_seconds(done: Done, name: str) -> tuple[float, float]:
    """Return the CPU seconds of the students of a sweep, and of its teachers."""
    return sum(row.cpu_s for row in done[name]), origins(STUDY)[name]["teachers_cpu_s"]


def undisturbed(done: Done) -> list[str]:
    """Return the sweeps that started on an idle machine."""
    return [name for name in done if all(start["load"] < IDLE for start in origins(STUDY)[name]["starts"])]


def needed(done: Done, strategy: StrategyName, measured: Sequence[str]) -> float | None:
    """Return the core-seconds that make the interval of a share as narrow as HALF_WIDTH, from the spread of all.

    Searches: the smallest number whose t interval of the residuals strategy - share * here, relative to the gain, is no
    wider. Core-seconds: of the students of so many searches and of the teachers once, as in the measured sweeps.
    """
    runs = [search for trained in done.values() for search in searches(trained)]
    kept, gained = (over_searches(runs, use, "untreated") for use in (strategy, "here"))
    gain, part = fmean(gained.values()), fmean(kept.values()) / fmean(gained.values())
    spread = stdev([kept[n] - part * gained[n] for n in kept]) / gain
    count = next((n for n in range(3, 1000) if t_quantile(0.975, n - 1) * spread / math.sqrt(n) <= HALF_WIDTH), None)
    if count is None or not measured:
        return None
    costs = [core_seconds(done, name) for name in measured]
    per_search = fmean(students for students, _ in costs) / fmean(len(searches(done[name])) for name in measured)
    return count * per_search + fmean(teachers for _, teachers in costs)


def percent(value: Estimate | None) -> str:
    if value is None or value.low is None or value.high is None:
        return "none"
    return f"{100 * value.mean:.0f} % [{100 * value.low:.0f}, {100 * value.high:.0f}]"


EACH = (
    "sweep",
    "advice",
    "searches to decide on the default",
    "gain, points",
    "default keeps",
    "elsewhere keeps",
    "default's holds",
    "elsewhere's holds",
)


def page(done: Done) -> str:
    if not done:
        return "# Does the advice hold?\n\n**No sweep has ended.**"
    by_sweep = {name: searches(trained) for name, trained in done.items()}
    every = [search for runs in by_sweep.values() for search in runs]
    choices = {name: advice(runs) for name, runs in by_sweep.items()}
    bad = [name for name in STRATEGIES[:-1] if (low := beyond(every, name).low) is not None and low > 0]
    good = next(
        (name for name in STRATEGIES[:-1] if (high := beyond(every, name).high) is not None and high < 0), "here"
    )
    wrong = sum(choice.use in bad for choice in choices.values())
    cheapest = sum(choice.use == good for choice in choices.values())
    rows = [
        [f"`{name}`", _advice(choices[name]), _needed(choices[name]), interval(choices[name].gain, absent="none")]
        + [percent(share(runs, strategy)) for strategy in STRATEGIES[:-1]]
        + [_holds(by_sweep, name, strategy) for strategy in STRATEGIES[:-1]]
        for name, runs in by_sweep.items()
    ]
    held = [row[-2:].count("yes") for row in rows]
    seconds = [
        needed(done, strategy, measured) for measured in ([*done], undisturbed(done)) for strategy in STRATEGIES[:-1]
    ]
    all_default, all_elsewhere, idle_default, idle_elsewhere = map(_text, seconds)
    lines = [
        f"core-seconds to share +-{100 * HALF_WIDTH:.0f} points = {all_default} (default), {all_elsewhere} (elsewhere),"
        " as declared: by the CPU seconds of every sweep. Most ran beside other work, which makes CPU seconds longer",
        f"not declared: by the CPU seconds of {', '.join(f'`{name}`' for name in undisturbed(done)) or 'none'}, which"
        f" began at a load below {IDLE:g}: {idle_default} (default), {idle_elsewhere} (elsewhere)",
        f"advice that all {len(done)} sweeps together show to be wrong: {wrong} of {len(done)}",
        f"advice that names the cheapest one that all together show to be good ({good}): {cheapest} of {len(done)}",
        f"intervals that hold the mean of the other sweeps: {sum(held)} of {2 * len(done)}",
    ]
    together = advice(every)
    whole = [
        [
            strategy.name,
            percent(share(every, strategy.name)),
            interval(strategy.lost, absent="none"),
            interval(beyond(every, strategy.name), absent="none"),
        ]
        for strategy in together.strategies[:-1]
    ]
    return f"""# Does the advice hold?

{chr(10).join(f"- {line}" for line in lines)}

All {len(every)} searches of {len(done)} sweeps together, as if they were one: gain of tuning here over no distillation
with its own recipe {interval(together.gain, absent="none")} points; of elsewhere over the default
{interval(together.elsewhere_less_default, absent="none")}.

{table(["strategy", "share of the gain, 95 %", "points lost, 95 %", "of them beyond the margin, 95 %"], whole)}

Each sweep: what it advises, its shares with their 95 % intervals, and whether these hold the mean of the others.

{table(EACH, rows)}
"""


def _advice(choice: Choice) -> str:
    return choice.use if choice.settled else "not decided"


def _needed(choice: Choice) -> str:
    default = choice.strategy("default")
    return "" if default is None or default.needed is None else str(default.needed)


def _holds(by_sweep: Mapping[str, Sequence[Runs]], name: str, strategy: StrategyName) -> str:
    mine = share(by_sweep[name], strategy)
    others = share([search for other, runs in by_sweep.items() if other != name for search in runs], strategy)
    if mine is None or others is None or mine.low is None or mine.high is None:
        return "none"
    return "yes" if mine.low <= others.mean <= mine.high else "no"


def _text(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds:,.0f}"


def figure(done: Done) -> list[Panel]:
    """Return a panel by strategy with its loss against tuning there, in each sweep and in all together."""
    by_sweep = {name: searches(trained) for name, trained in done.items()}
    every = {"all together": [search for runs in by_sweep.values() for search in runs]}
    titles = {"default": "by Keras' default", "elsewhere": "by values tuned on MNIST"}
    panels = []
    for strategy in STRATEGIES[:-1]:
        lost = {name: over_searches(runs, "here", strategy).values() for name, runs in (by_sweep | every).items()}
        marks = tuple(Mark(name, "", value) for name, of in lost.items() if (value := estimate([*of])) is not None)
        panels.append(Panel(f"points lost {titles[strategy]}", marks))
    return [panel for panel in panels if panel.marks]


STUDY = Study(
    name="calibration",
    parts={f"seed-{seed}": Part(changes=partial(changes, seed)) for seed in SEEDS},
    page=page,
    figure=figure,
)


if __name__ == "__main__":
    sys.exit(main(STUDY, str(__doc__), sys.argv[1:]))

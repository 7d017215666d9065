"""Does another loss beat kd where both are tuned with the same search, seeds and budget? And untuned?

    python bench/studies/losses.py [--part NAME ...] [--list | --declare | --page] [--storage DIR] [--workers N]

A part is one loss on MNIST and CIFAR-10, tuned, or at the point of its paper. The question and every formula stand in
bench/results/studies/losses/declared.md, written before the first training; the page is written of the CSVs alone.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

from kd.losses.builtin import LOSSES
from support.page import interval, table
from support.parts import TRAINING, Done, Part, Study, Trainings, main, origins, spec_of
from sweeps.report.figures.forest import Mark, Panel
from sweeps.report.words import display_name
from sweeps.stats.estimates import estimate, holm, t_p_value

ORDER = ("kd", "dkd", "dist", "nkd", "mse", "logit-standardization")
OTHERS = ORDER[1:]
DATASETS = ("mnist", "cifar10")
PAPER = "-paper"

# Searches are trained and tested on targets alone, so the source is the smallest dataset: the digits of scikit-learn.
_ROLES = {
    "source": {"dataset": "digits", "images": 1078, "teacher": "cnn-small-narrow", "teacher_epochs": 6, "epochs": 4},
    "target": {"dataset": "mnist", "images": 4_000, "teacher": "cnn-small", "teacher_epochs": 15, "epochs": 15},
    "target2": {"dataset": "cifar10", "images": 4_000, "teacher": "cnn-small", "teacher_epochs": 18, "epochs": 12},
}
SEED, SEARCHES, SEEDS = 2902, 5, 4


def tuned(loss: str, done: Done, place: Path) -> Mapping[str, Any]:
    """Return the spec of a loss that is tuned; kd has the arm without a teacher beside it."""
    return _spec(loss, trials=8, rounds=[(3, 1)], arms=("native", "scratch") if loss == "kd" else ("native",))


def at_paper(loss: str, done: Done, place: Path) -> Mapping[str, Any]:
    """Return the same where every search has one point: that of the paper."""
    known = LOSSES[loss]
    ranges = {"alpha": [known.default_alpha] * 2}
    if known.uses_temperature:
        ranges["temperature"] = [known.default_temperature] * 2
    return _spec(loss, trials=1, rounds=[(1, 1)], arms=("native",), search=ranges)


def _spec(loss: str, **searched: Any) -> Mapping[str, Any]:
    training = TRAINING | ({} if loss == "kd" else {"distillation": loss})
    return spec_of(_ROLES, seed=SEED, searches=SEARCHES, seeds=SEEDS, training=training, **searched)


def means(trained: Trainings, dataset: str, arm: str = "native") -> dict[int, float]:
    """Return the mean test accuracy of an arm over its seeds, in percent, by search."""
    values: dict[int, list[float]] = {}
    for one in trained:
        if (one.stage, one.dataset, one.arm) == ("transfer", dataset, arm) and one.test is not None:
            values.setdefault(one.search, []).append(100 * one.test)
    return {search: fmean(of) for search, of in sorted(values.items())}


def apart(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Return first - second by search, in points."""
    return [first[search] - second[search] for search in sorted(first.keys() & second.keys())]


def family(done: Done, dataset: str, suffix: str = "") -> list[list[object]]:
    """Return a row for each loss but kd: its difference to kd, and Holm's p over the five."""
    reference = means(done.get(f"kd{suffix}", ()), dataset)
    values = {loss: apart(means(done.get(loss + suffix, ()), dataset), reference) for loss in OTHERS}
    p_values = {loss: t_p_value(of) for loss, of in values.items()}
    # Five were declared: one that is missing counts as one that shows nothing.
    adjusted = holm({loss: 1.0 if p is None else p for loss, p in p_values.items()})
    rows: list[list[object]] = []
    for loss, of in values.items():
        mean = estimate(of)
        p = p_values[loss]
        if mean is None or p is None:
            rows.append([f"`{loss}`", "missing", "", "", ""])
            continue
        holm_p = adjusted[loss]
        word = "not told apart" if holm_p >= 0.05 else "better" if mean.mean > 0 else "worse"
        rows.append([f"`{loss}`", interval(mean), p_text(p), p_text(holm_p), word])
    return rows


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(values: Mapping[int, float]) -> str:
    return interval(estimate(list(values.values())), form=".2f")


def _levels(done: Done, dataset: str) -> list[list[object]]:
    scratch = means(done.get("kd", ()), dataset, "scratch")
    rows: list[list[object]] = []
    for loss in ORDER:
        here, paper = (means(done.get(loss + suffix, ()), dataset) for suffix in ("", PAPER))
        gain, worth = estimate(apart(here, scratch)), estimate(apart(here, paper))
        rows.append([f"`{loss}`", percent(here), percent(paper), interval(worth), interval(gain)])
    return rows


LEVELS = ("loss", "tuned", "at its paper's point", "tuned - paper's, points", "tuned - no teacher, points")
APART = ("loss", "loss - kd, points", "p", "p, Holm", "answer")


def page(done: Done) -> str:
    sections = []
    for dataset in DATASETS:
        scratch = means(done.get("kd", ()), dataset, "scratch")
        sections.append(f"""## {dataset}

Test accuracy in percent, means over searches; without a teacher: {percent(scratch)}.

{table(LEVELS, _levels(done, dataset))}

Primary: each loss less kd, both tuned with the same budget, paired by search.

{table(APART, family(done, dataset))}

Secondary: each loss at the point of its paper less kd at T = 4, alpha = 0.1, as the papers compare.

{table(APART, family(done, dataset, PAPER))}
""")
    made = {name: tuple(sorted(of["logits"].items())) for name, of in origins(STUDY).items()}
    same = "all parts have the same logits" if len(set(made.values())) == 1 else "the parts have DIFFERENT logits"
    teachers = f"Teachers: {same}." if made else "Teachers: no part has ended."
    by_dataset = "\n".join(sections)
    return f"""# Do newer losses survive equal tuning?

{headline(done)}

Intervals are 95 % t intervals over the five searches; a search is the mean of four seeds. {teachers}

{by_dataset}"""


def figure(done: Done) -> list[Panel]:
    """Return by dataset what each loss gains over kd: both tuned, and below it both at the points of their papers."""
    panels = []
    for suffix, what in (("", "tuned alike"), (PAPER, "at the points of the papers")):
        for dataset in DATASETS:
            reference = means(done.get(f"kd{suffix}", ()), dataset)
            values = {loss: estimate(apart(means(done.get(loss + suffix, ()), dataset), reference)) for loss in OTHERS}
            marks = tuple(Mark(loss, "minus kd", value) for loss, value in values.items() if value is not None)
            panels.append(Panel(f"points over kd on {display_name(dataset)}, {what}", marks))
    return [panel for panel in panels if panel.marks]


def headline(done: Done) -> str:
    """Return the first sentence: which losses are better or worse than kd, tuned alike."""
    if any(name not in done for name in ORDER):
        return f"**Not complete: {len([name for name in ORDER if name in done])} of {len(ORDER)} tuned parts are in.**"
    words = {(dataset, str(row[0])): str(row[-1]) for dataset in DATASETS for row in family(done, dataset)}
    lists = {
        word: ", ".join(f"{loss} on {dataset}" for (dataset, loss), of in words.items() if of == word) or "none"
        for word in ("better", "worse")
    }
    apart_not = sum(word == "not told apart" for word in words.values())
    return (
        f"**Tuned alike, of {len(words)} comparisons with kd: better {lists['better']}; worse {lists['worse']};"
        f" {apart_not} are not told apart.**"
    )


STUDY = Study(
    name="losses",
    parts={loss: Part(changes=partial(tuned, loss)) for loss in ORDER}
    | {loss + PAPER: Part(changes=partial(at_paper, loss)) for loss in ORDER},
    page=page,
    figure=figure,
)


if __name__ == "__main__":
    sys.exit(main(STUDY, str(__doc__), sys.argv[1:]))

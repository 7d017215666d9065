"""The answer in plain words: what the report, the dashboard and the last lines of `run` say alike."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from sweeps.analysis.analysis import Analysis, Control, Surface, TargetVerdict
from sweeps.analysis.looks import Look, another_sweep
from sweeps.stats.estimates import Estimate
from sweeps.stats.variance import IDENTIFIED_FROM


def headline(analysis: Analysis, name: str) -> str:
    """The answer to the primary question, one paragraph: the verdict of the first target."""
    unsure = analysis.surfaces()[0].identified is False
    return ("Not identified on the source. " if unsure else "") + sentence(analysis, analysis.verdicts()[0], name)


def sentence(analysis: Analysis, found: TargetVerdict, name: str) -> str:
    """One verdict, with its scope; `name` is the sweep's, for the command to type."""
    spec, verdict = analysis.spec, found.verdict
    source = spec.source.dataset
    if verdict is None:
        if found.left:
            return (
                f"NO VERDICT YET on {source} -> {found.dataset}: {found.done} of {found.planned} trainings of transfer"
                f" are done; go on with: kd-sweeps launch {name}"
            )
        lost = found.planned - found.done
        again = f"; {lost} of {found.planned} trainings failed or were skipped: kd-sweeps retry {name}" if lost else ""
        return (
            f"NO VERDICT on {source} -> {found.dataset}: it compares the arms native and best on two seeds or more,"
            f" which are not there{again}"
        )
    bound = f"{100 * (1 - verdict.level):.3g} % bound"
    point = analysis.comparison.selected("confirm.best")
    tuned = "T and alpha" if point is None else f"T = {point['temperature']:.3g} and alpha = {point['alpha']:.3g}"
    tuned = f"{tuned}, tuned on {source},"
    margin = f"the margin of {_points(verdict.margin)}"
    said = {
        "FLAT": f"tuning on {found.dataset} itself was not found to beat {' or '.join(verdict.beats)} there, so"
        " there was nothing to transfer",
        "TRANSFERS": f"{tuned} cost at most {verdict.high:.2f} points ({bound}) on {found.dataset} against"
        f" tuning there, less than {margin}"
        if verdict.high > 0
        else f"{tuned} did better on {found.dataset} than tuning there, by at least {-verdict.high:.2f} points"
        f" ({bound}), so within {margin}",
        "FAILS": f"{tuned} cost at least {verdict.low:.2f} points ({bound}) on {found.dataset} against tuning there,"
        f" more than {margin}",
        "UNDECIDED": f"{tuned} cost between {verdict.low:+.2f} and {verdict.high:+.2f} points ({bound}s) on"
        f" {found.dataset} against tuning there, and {margin} lies between",
    }[verdict.word]
    scope = (
        f"This teacher ({_teachers(analysis, found.role)}), this search ({spec.search.trials} trials), {source} ->"
        f" {found.dataset}, n = {verdict.n} seeds"
        + (f"; {found.planned - found.done} of {found.planned} trainings failed" if found.done < found.planned else "")
    )
    more = f" {more_seeds(analysis, found, name)}" if verdict.word == "UNDECIDED" else ""
    return f"{verdict.word}: {said}. {scope}.{more}"


def more_seeds(analysis: Analysis, found: TargetVerdict, name: str) -> str:
    """What to type when the verdict is UNDECIDED; empty otherwise."""
    verdict, transfer = found.verdict, analysis.spec.transfer
    if verdict is None or verdict.word != "UNDECIDED":
        return ""
    if verdict.seeds is None:
        return "The regret is so close to the margin that 10,000 seeds would not decide with 80 % power."
    needed = f"With 80 % power {verdict.seeds} seeds per arm would decide, if the true regret is as estimated"
    if len(found.looks) >= transfer.looks:
        return (
            f"{needed}, but no declared look is left, so in another sweep:"
            f" {another_sweep(name, analysis.spec, verdict.seeds)}"
        )
    return f"{needed}: kd-sweeps extend {name} --seeds +{verdict.seeds - verdict.n}, then kd-sweeps launch {name}"


def identified(surface: Surface) -> str:
    """Whether the search of a dataset had an optimum to find; one line."""
    if surface.best is None:
        return f"{surface.dataset}: not confirmed yet"
    parts = []
    if surface.icc is None:
        parts.append("whether its search saw more than noise cannot be told (confirm needs 2 candidates and 2 seeds)")
    elif surface.identified:
        parts.append(f"{100 * surface.icc:.0f} % of what its single runs differ by is (T, alpha), the rest is the seed")
    else:
        parts.append(
            f"NOT IDENTIFIED: only {100 * surface.icc:.0f} % of what its single runs differ by is (T, alpha), less than"
            f" {100 * IDENTIFIED_FROM:.0f} %; the rest is the seed"
        )
    if surface.tied:
        tied = "; ".join(f"T = {temperature:.3g}, alpha = {alpha:.3g}" for temperature, alpha in surface.tied)
        parts.append(f"tied with best: {tied}")
    if surface.optimism is not None:
        side = "lower" if surface.optimism >= 0 else "higher"
        parts.append(f"on fresh seeds the trophy of the search came out {abs(surface.optimism):.2f} points {side}")
    return f"{surface.dataset}: {'; '.join(parts)}"


def explained(controls: Sequence[Control]) -> list[str]:
    """What the gain of best is made of, as far as the controls tell; one line for each dataset that has some."""
    lines = []
    for dataset, group in groupby(controls, key=lambda one: one.dataset):
        ran = list(group)
        gain, same = ran[0].best, [f"`{one.arm}` ({_MEANING[one.arm]})" for one in ran if one.explains]
        if gain.low is None or gain.low <= 0:
            text = f"best was not found to gain over scratch ({interval(gain)}): nothing for the controls to explain"
        elif same:
            text = f"best gains {interval(gain)} over scratch; as much is gained by {' and '.join(same)}"
        else:
            text = f"best gains {interval(gain)} over scratch, and no control accounts for that"
        lines.append(f"{dataset}: {text}")
    return lines


_MEANING = {
    "class-mean": "which classes are alike, nothing about the single image",
    "shuffled-within-class": "logits of another image of the class",
    "label-smoothing": "no teacher at all",
    "scratch-same-cost": "longer training on the labels for the same cost",
}


def looked(analysis: Analysis) -> str:
    """How often the test was read, by which plan, and when that was written down."""
    taken, declared = analysis.looks, analysis.spec.transfer.looks
    level = f"each decided at {100 * analysis.spec.transfer.level:.3g} % one-sided, together 5 %"
    if not taken:
        return f"the test has not been read; looks declared: {declared}, {level}"
    return f"looks at the test: {len(taken)} of {declared} declared, {level}. " + "; ".join(map(_look, taken))


def _look(look: Look) -> str:
    assert look.first_read is not None  # an analysis has only those that were begun
    plan = f"spec {look.fingerprint[:12]}, stored {_time(look.registered_at)}"
    return f"look {look.number}: {look.seeds} seeds by {plan}, test first read {_time(look.first_read)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def interval(value: Estimate | None) -> str:
    """Signed accuracy points with the 95 % t interval: "+0.20 [-0.49, +0.89] (n=10)"."""
    if value is None:
        return "not yet"
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f} (n=1, no interval)"
    return f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}] (n={value.n})"


def _points(value: float) -> str:
    return f"{value:g} point" + ("" if math.isclose(value, 1) else "s")


def _teachers(analysis: Analysis, role: str) -> str:
    return " and ".join(dict.fromkeys(analysis.spec.role(one).teacher for one in ("source", role)))

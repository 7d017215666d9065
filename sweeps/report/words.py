"""Write numbers with intervals, names, effects and one-line observations."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from sweeps.findings import load, surfaces
from sweeps.findings.findings import Findings
from sweeps.findings.rows import Row
from sweeps.spec.model import Spec
from sweeps.stats import advice, verdict
from sweeps.stats.estimates import FEWEST_RUNS, Estimate, Paired, clipped, limits, percent
from sweeps.stats.top import WORDS
from sweeps.terminal import joined, number_of, truncated
from sweeps.trainers.protocol import Point, label
from sweeps.trainers.score import Score

_LONGEST_STATUS = 110  # characters, with the reason
EDGE = 0.03  # of a range: the distance from its end within which a point is at the edge
SAME = "the same point"  # in place of a difference between identical trainings

_DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def number(value: float | None, form: str, scale: float = 1) -> str:
    return "" if value is None else f"{scale * value:{form}}"


def shortened(status: str) -> str:
    # `trials` shows all of it.
    return textwrap.shorten(status, _LONGEST_STATUS, placeholder=" ...")


def percentage(fraction: float | None, form: str = ".2f") -> str:
    return "" if fraction is None else f"{percent(fraction):{form}}"


def percent_interval(mean: float, low: float, high: float) -> str:
    """Return a fraction with its interval in percent, "80 % [69, 91]", with decimals only if it is that narrow."""
    low, high = percent(low), percent(high)
    digits = next((count for count in range(4) if round(low, count) < round(high, count)), None)
    if digits is None:
        return f"{percent(mean):.0f} %"
    return f"{percent(mean):.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def level(score: Score, value: Estimate | None, unit: str = "") -> str:
    """Return a score with its interval and perhaps a unit: "97.41 ± 0.12 (n=10)".

    If the interval leaves the bounds, write its clipped limits: "99.50 [98.00, 100.00] (n=3)".
    """
    if value is None:
        return ""
    ends, (lowest, highest) = limits(value), score.bounds
    unit = f" {unit}".rstrip()
    if ends is None:
        return f"{score.number(value.mean)}{unit} (n={value.n})"
    low, high = sorted(score.level(end) for end in clipped(ends, score.bounds))
    mean, half = score.level(value.mean), score.scaled(ends[1] - value.mean)
    # As many decimals as the mean needs or, if it is narrow, the interval.
    digits = max(score.decimals(2, mean), score.decimals(0, half) if score.unit != "%" else 0)
    if ends[0] < lowest or ends[1] > highest:
        return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{unit} (n={value.n})"
    return f"{mean:.{digits}f} ± {half:.{digits}f}{unit} (n={value.n})"


def _digits(score: Score, value: Estimate, digits: int) -> int:
    return score.decimals(digits, value.mean, *(limits(value) or ()))


def interval(score: Score, value: Estimate | None) -> str:
    """Return a signed difference with its 95 % t interval, without unit: "+0.20 [-0.49, +0.89] (n=10)".

    Write SAME if all its pairs are identical trainings, and their number if some are.
    """
    if value is None:
        return "not yet"
    if is_same_point(value):
        return SAME
    same = f", {value.same} {SAME}" if isinstance(value, Paired) and value.same else ""
    ends, digits = limits(value), _digits(score, value, 2)
    if ends is None:
        why = "no interval" if value.n < FEWEST_RUNS else "all alike"
        return f"{value.mean:+.{digits}f} (n={value.n}{same}, {why})"
    return f"{value.mean:+.{digits}f} [{ends[0]:+.{digits}f}, {ends[1]:+.{digits}f}] (n={value.n}{same})"


def is_same_point(value: Estimate) -> bool:
    # A difference between identical trainings is no evidence.
    return isinstance(value, Paired) and value.is_same_point


def _signed(value: float, sign: str, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return f"{'−' if value < 0 else sign}{text}" if float(text) else text


def points(score: Score, value: Estimate, sign: str = "+") -> str:
    """Return a difference for a headline, without unit: "+3.4", "−0.3", "0.0".

    sign: of positive differences; "" for losses.
    """
    return _signed(value.mean, sign, _digits(score, value, 1))


def between(score: Score, value: Estimate, sign: str = "+") -> str:
    """Return the limits of a difference: "+0.4 to +1.4"; "" without an interval."""
    ends = limits(value)
    if ends is None:
        return ""
    digits = score.decimals(1, *ends)
    digits += round(ends[0], digits) >= round(ends[1], digits)
    return " to ".join(_signed(end, sign, digits) for end in ends)


def amount(score: Score, value: Estimate, sign: str = "+") -> str:
    """Return the mean of a difference with its unit: "+0.4 points"."""
    return score.amount(points(score, value, sign))


def mean_points(score: Score, value: Estimate, sign: str = "+") -> str:
    """Return `amount`, or SAME."""
    return SAME if is_same_point(value) else amount(score, value, sign)


def difference(score: Score, value: Estimate) -> str:
    """Return a difference with its limits, if any: "+0.9 points, +0.4 to +1.4"."""
    return ", ".join(filter(None, (mean_points(score, value), between(score, value))))


def estimated(score: Score, value: Estimate) -> str:
    """Return a difference with its unit and its interval, for a sentence: "0.9 points (95 % CI 0.4 to 1.4)"."""
    ends = between(score, value, sign="")
    return f"{amount(score, value, sign='')}{f' (95 % CI {ends})' if ends else ''}"


def counted(score: Score, value: float) -> str:
    """Return a margin or another given amount with its unit: "1 point", "0.5 points"."""
    return score.amount(f"{value:.2g}" if value < 10 else f"{value:.3g}")


def exact(score: Score, value: float, sign: str = "") -> str:
    """Return a bound or estimate of a difference for a sentence in full, without unit: "0.71"."""
    return f"{value:{sign}.{score.decimals(2, value)}f}"


def size(count: float) -> str:
    """Return a file size: "113 KB", "12.3 MB"."""
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} KB"


def seconds_not_compared(kinds: Sequence[tuple[str, str]]) -> str:
    """Return why seconds are not compared, or "" for a single kind of machine (processor and threads)."""
    named = "; ".join(f"{cpu}, {threads} thread(s)" for cpu, threads in kinds)
    text = f"**Seconds are not compared**: the tasks ran on {len(kinds)} kinds of machine ({named})."
    return text if len(kinds) > 1 else ""


def display_name(dataset: str) -> str:
    """Return the name of a dataset for sentences and titles; for a path, the file name."""
    name = re.split(r"[/\\]", dataset)[-1]
    return _DATASETS.get(name, truncated(name, 32))


def direction(spec: Spec) -> str:
    """Return the source and the targets of a sweep: "MNIST to CIFAR-10", or only the source."""
    targets = ", ".join(display_name(spec.role(role).dataset) for role in spec.targets)
    return " to ".join(filter(None, (display_name(spec.source.dataset), targets)))


def owner(spec: Spec, default: str | None) -> str:
    """Return whose default an arm is, for a sentence; None stands for the trainer's first default."""
    known = [default] if default is not None else spec.kind.features.defaults[:1]
    return spec.arm(known[0]).owner if known else "the"


def default_name(spec: Spec, *, is_untuned: bool = False) -> str:
    """Return the default that tuning is compared with, for a sentence: "Keras' default"."""
    return f"{owner(spec, None)} {'untuned ' if is_untuned else ''}default"


def strategy_name(spec: Spec, name: advice.StrategyName) -> str:
    """Return a strategy other than tuning here, for a sentence: "values tuned on MNIST"."""
    return default_name(spec) if name == "default" else f"values tuned on {display_name(spec.source.dataset)}"


def untreated_name(spec: Spec, role: str) -> str:
    """Return what gains on the dataset of a role are measured from, for a sentence."""
    features = spec.kind.features
    tuned = spec.untreated_arm(role) != features.untreated  # with a recipe chosen for it
    return f"{'the best ' if tuned else ''}{features.untreated_training}"


def compared_with(sweeps: Iterable[Findings]) -> tuple[str, str]:
    """Return what gains and tuning are compared with: "no distillation", "Keras' default"."""
    specs = [findings.spec for findings in sweeps]
    without = dict.fromkeys(spec.kind.features.without for spec in specs)
    defaults = dict.fromkeys(map(default_name, specs))
    return joined(without, "or"), joined(defaults, "or")


def searched(spec: Spec) -> str:
    """Return the searched parameters, for a sentence: "T and α", or "T, α and learning_rate"."""
    symbols = spec.kind.features.symbols
    return joined(symbols.get(name, name) for name in spec.kind.searched(spec))


def arm(spec: Spec, name: str, dataset: str) -> str:
    """Return the label of an arm on a dataset, as the spec names it."""
    source = spec.role("source").dataset
    label = spec.arm("native" if name == "best" and source == dataset else name).label
    symbols = joined(spec.kind.features.symbols.values()) or "values"
    return label.format(source=display_name(source), dataset=display_name(dataset), symbols=symbols)


def model(spec: Spec, role: str, row: Row) -> tuple[str, str]:
    """Return the label of a model that is compared by size or cost, and its detail: its network, or its search."""
    parts = spec.kind.report()
    if row.kind == "teacher":
        noun = spec.kind.features.prepares
        return noun.capitalize(), parts.display(display_name(row.method.removeprefix(f"{noun} ")))
    if row.kind == "baseline":
        return parts.display(row.method), parts.budget(spec, row.method)
    labels = {"best": "Student, distilled", spec.untreated_arm(role): "Student, labels only"}
    return labels.get(row.method) or arm(spec, row.method, row.dataset), ""


def effect_direction(value: Estimate | None) -> str:
    """Return where the interval of a difference lies: "above" 0, "below", "open" (includes 0) or "unknown"."""
    if value is None or value.low is None or value.high is None or value.n < FEWEST_RUNS:
        return "unknown"
    return "above" if value.low > 0 else "below" if value.high < 0 else "open"


def as_good(findings: Findings) -> list[str]:
    """Return, by dataset, that the better untuned default or no distillation is as good as best."""
    lines = []
    for role in findings.spec.roles:
        dataset, default = findings.spec.role(role).dataset, findings.better_default(role)
        untuned = findings.beyond_default(role)
        if default is not None and untuned is not None and untuned.low is not None and untuned.low <= 0:
            is_better = effect_direction(untuned) == "below"
            text = "is better than best" if is_better else "does as well as best, within the noise"
            whose, point = owner(findings.spec, default), findings.spec.arm(default).method
            by = difference(findings.spec.score, untuned)
            lines.append(f"{display_name(dataset)}: {whose} default, {point} without any tuning, {text} ({by})")
        gain = findings.gain(role)
        if role != "source" and gain is not None and gain.low is not None and gain.low <= 0:
            without, by = findings.spec.kind.features.without, difference(findings.spec.score, gain)
            lines.append(f"{display_name(dataset)}: best does not measurably beat {without} ({by})")
    return lines


def at_edge(point: Point, spec: Spec) -> str:
    """Return the ends of the searched ranges at which a point lies, such as "T = 1", or ""."""
    return joined(f"{label(name)} = {end:g}" for name, end in _ends_near(spec, point))


def _ends_near(spec: Spec, point: Point) -> Iterator[tuple[str, float]]:
    for name, bounds in surfaces.ranges(spec).items():
        if bounds.high > bounds.low:
            place = bounds.fraction(point[name])
            if min(place, 1 - place) <= EDGE:
                yield name, bounds.low if place <= EDGE else bounds.high


def identified(surface: surfaces.Surface, spec: Spec) -> str:
    dataset = display_name(surface.dataset)
    if surface.best is None:
        return f"{dataset}: not confirmed yet"
    parts, score = [effect] if (effect := parameter_effect(surface, spec.score)) else [], spec.score
    if edge := at_edge(surface.best, spec):
        parts.append(f"best lies at the edge of the search space ({edge})")
    if surface.tied:
        parts.append(f"tied with best: {'; '.join(tied.text() for tied in surface.tied)}")
    if surface.optimism is not None and float(change := exact(score, abs(surface.optimism))):
        lost = f"lost {score.amount(change)}: its score was partly luck"
        by = lost if surface.optimism > 0 else f"gained {score.amount(change)}"
        parts.append(f"retrained with new seeds, the best trial {by}")
    return f"{dataset}: {'; '.join(parts)}" if parts else ""


def parameter_effect_brief(surface: surfaces.Surface) -> str:
    """Return whether the parameters, such as T and alpha, matter, or which one matters most."""
    if surface.importances:
        name, share = surface.importances[0]
        return f"{label(name)} mattered most ({percent(share):.0f} % of the variance)"
    if surface.importances_missing:
        return f"how much each parameter mattered: {surface.importances_missing}"
    if surface.further:
        return ""
    both = joined(map(label, surface.parameters))
    if surface.top_missing:
        return f"whether {both} matter: {surface.top_missing}"
    if surface.top is None:
        return f"too few searches to tell whether {both} matter"
    return {
        WORDS[0]: f"{both} matter",
        WORDS[1]: f"{both} do not matter",
        WORDS[2]: f"unclear whether {both} matter",
    }[surface.top.word]


def effects(findings: Findings) -> list[str]:
    """Return each different `parameter_effect_brief` with the datasets that have it."""
    datasets = defaultdict[str, list[str]](list)
    for surface in findings.surfaces:
        datasets[parameter_effect_brief(surface)].append(display_name(surface.dataset))
    return [f"{joined(names)}: {effect}" for effect, names in datasets.items() if effect]


def parameter_effect(surface: surfaces.Surface, score: Score) -> str:
    """Return whether two parameters matter, with the share of the search space that is as good as its best point.

    With other parameters, return how much each mattered: in a surface over two, the others would be noise.
    """
    top = surface.top
    if surface.importances:
        shares = ", ".join(f"{label(name)} {percent(share):.0f} %" for name, share in surface.importances)
        trials = len(surface.trials) + len(surface.others)
        return f"variance of the validation {score.name} explained: {shares} (fANOVA over {trials} search trials)"
    if surface.top_missing or surface.importances_missing:
        return parameter_effect_brief(surface)
    if surface.further:
        return ""
    if top is None:
        return f"{parameter_effect_brief(surface)} (at least {verdict.FEWEST_SEARCHES} are needed)"
    return (
        f"{parameter_effect_brief(surface)}: {percent_interval(top.share, top.low, top.high)} of the search space"
        f" loses less than {score.amount(f'{top.tolerance:.2g}')}, half the seed sd of a run, against its best point"
    )


def explained(findings: Findings) -> list[str]:
    lines = []
    for dataset, group in groupby(findings.controls, key=lambda control: control.dataset):
        ran, spec = list(group), findings.spec
        gain, without = ran[0].best, spec.kind.features.without
        by = estimated(spec.score, gain)
        same = [f"{arm(spec, item.arm, dataset)} ({spec.arm(item.arm).control})" for item in ran if item.explains]
        if gain.low is None or gain.low <= 0:
            by = difference(spec.score, gain)
            text = f"best does not measurably beat {without} ({by}): the controls have nothing to explain"
        elif same:
            text = f"best gains {by} over {without}, but at least half of that is gained by {joined(same)} as well"
        else:
            text = f"best gains {by} over {without}, and no control is shown to gain half of that"
        lines.append(f"{display_name(dataset)}: {text}")
    return lines


def looked(findings: Findings) -> str:
    """Return the evaluations on the test set, used and planned, with their levels and times."""
    looks, transfer = findings.looks, findings.spec.transfer
    read = "; ".join(map(_look, looks))
    if not findings.verdicts and not findings.choices:  # nothing is decided, so no level is used
        return read or "the test set has not been read"
    used = f"evaluations on the test set: {len(looks)} of {transfer.looks} planned ({_levels(findings)})"
    rule = "" if transfer.rule == verdict.RULE else f". Judged by rule {transfer.rule}, which this sweep declared"
    return f"{used}. {read}{rule}" if looks else used


def _levels(findings: Findings) -> str:
    transfer = findings.spec.transfer
    if not findings.choices:
        levels = [percent(transfer.level(look)) for look in range(1, transfer.looks + 1)]
        together = f"; {sum(levels):.3g} % in all" if len(levels) > 1 else ""
        return f"one-sided, {', '.join(f'{level:.3g} %' for level in levels)}{together}"
    spec, tested = findings.spec, [name for name in advice.LEVELS if name != "elsewhere" or findings.verdicts]
    text = ", ".join(f"{strategy_name(spec, name)} {percent(advice.LEVELS[name]):.3g} %" for name in tested)
    parts = [f"{percent(part):.3g} %" for part in advice.LOOKS[transfer.looks]]
    shared = f", shared by {len(findings.choices)} targets" if len(findings.choices) > 1 else ""
    looks = f"; the evaluations take {', '.join(parts)} of it" if len(parts) > 1 else ""
    return f"one-sided, {text}{shared}{looks}"


def _look(look: load.Look) -> str:
    assert look.first_read is not None  # findings contain only looks that have begun
    searches = f", {look.searches} searches" if look.searches > 1 else ""
    plan = f"{number_of(look.seeds, 'seed')}{searches}, spec {look.fingerprint[:12]} stored {_time(look.registered_at)}"
    return f"Evaluation {look.number}: {plan}, test set first read {_time(look.first_read)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

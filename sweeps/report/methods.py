"""Write the section Methods: data, training, search, confirmation, comparison, statistics."""

from sweeps.findings.findings import Findings
from sweeps.findings.surfaces import PLANE, ranges
from sweeps.hints import PORTABLE
from sweeps.report import words
from sweeps.report.document import Block, Code, Fold, Paragraph
from sweeps.report.words import counted, default_name, display_name, strategy_name, untreated_name
from sweeps.spec.model import Spec
from sweeps.spec.tables import Group
from sweeps.stats.advice import STRATEGIES, level_of
from sweeps.stats.estimates import percent
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM
from sweeps.stats.verdict import FEWEST_SEARCHES
from sweeps.terminal import joined, number_of
from sweeps.trainers.protocol import label


def section(findings: Findings) -> Fold:
    name, spec = findings.name, findings.spec
    blocks: tuple[Block, ...] = (
        *(Paragraph(text) for text in spec.kind.report().methods(spec)),
        Paragraph(_search(spec)),
        Paragraph(_transfer(spec)),
        Paragraph(_statistics(spec)),
        Paragraph(
            "The same spec gives the same tasks and seeds. To rerun it in another storage, use the `spec.toml` in the"
            " folder of this page:"
        ),
        Code((PORTABLE.line("create", name, "spec.toml"), PORTABLE.line("launch", name))),
    )
    return Fold("Methods", "what was done, to cite and to rerun", blocks)


def _search(spec: Spec) -> str:
    search, score = spec.search, spec.score
    several = _further(spec)
    native = " The same search and confirmation on each target, with the same seeds, give `native`."
    native = native if spec.targets else ""
    points = [f"{number_of(search.planned, 'scrambled Sobol point')} (Owen 1998)"] if search.planned else []
    if search.trials > search.planned:
        points.append(
            f"{number_of(search.trials - search.planned, 'point')} proposed by {search.method}, each from the outcomes"
            f" of all trials except the {search.lag - 1} before it, in the order of the plan"
        )
    confirm = _confirm(spec)
    last = " after the last epoch" if spec.kind.curve_length(spec, "train", "source", "", {}) else ""
    return (
        f"**Search.** {_ranges(spec)}, {number_of(search.trials, 'trial')} on"
        f" {display_name(spec.source.dataset)}: {', then '.join(points)}. All trials use the same"
        f" {spec.kind.features.trained} seed and are scored by validation {score.name}{last}, without pruning."
        f" {confirm}. The points of a round share their seeds; the one with the {score.best} mean over fresh seeds is"
        f" `best`.{native}{several}"
    )


def _ranges(spec: Spec) -> str:
    # Parameters with a symbol first, with their distribution.
    space, symbols = spec.kind.space(spec), spec.kind.features.symbols
    first = [
        f"{label(name)} in [{bounds.low:g}, {bounds.high:g}] ({'log-uniform' if bounds.log else 'uniform'})"
        for name, bounds in ranges(spec).items()
        if name in symbols
    ]
    others = [f"{name} in {space[name]}" for name in space if name not in symbols]
    return ", ".join(filter(None, (joined(first), *others)))


def _confirm(spec: Spec) -> str:
    (top, seeds), *later = spec.confirm.rounds
    text = f"The {top} best points are retrained on {number_of(seeds, 'fresh seed')} each"
    if top == 1:
        text = f"The best point is retrained on {number_of(seeds, 'fresh seed')}"
    for points_left, more in later:
        text += f"; the {points_left} best of these on {more} more"
    return text + (f", in every round with a further point ({_name(spec, spec.raced)})" if spec.raced else "")


def _further(spec: Spec) -> str:
    if spec.outer.searches == 1:
        return ""
    cheap, features = spec.further, spec.kind.features
    per = f" per {features.prepares}" if features.prepares else ""
    return (
        f" The search is repeated from other starting points and with other seeds, {spec.outer.searches} times in"
        f" all{per}; each further one has {number_of(cheap.search.trials, 'trial')}. {_confirm(cheap)}."
        + _compared_again(spec)
    )


def _compared_again(spec: Spec) -> str:
    seeds, features = number_of(spec.further.transfer.seeds, "other seed"), spec.kind.features
    if spec.transfer.advises:
        arms = spec.arms(spec.roles[-1], Group(search=1))
        return f" Compared on {seeds} each time: {'; '.join(_name(spec, arm) for arm in arms)}."
    if not spec.targets:
        return ""
    others = f", with {features.without}," if features.untreated else ""
    return f" Its best and native are compared{others} on {seeds}."


def _transfer(spec: Spec) -> str:
    arms = dict.fromkeys(arm for role in spec.roles for arm in spec.arms(role))
    named = "; ".join(f"{_name(spec, arm)}{f' ({what})' if (what := spec.arm(arm).method) else ''}" for arm in arms)
    references = spec.kind.report().references(spec)
    measured = " Latency is the median over single images on one thread; the models take turns in one process."
    measured = measured if spec.kind.features.measures else ""
    return (
        f"**{'Transfer' if spec.targets else 'Comparison'}.** {_seeds(spec)}, not used for any selection:"
        f" {named}.{references}{measured}"
    )


def _seeds(spec: Spec) -> str:
    transfer = spec.transfer
    if not spec.targets or spec.seeds_of("target", "") == transfer.seeds:
        return f"Every arm is trained with the same {number_of(transfer.seeds, 'seed')}"
    return (
        f"On the target `native` and `best` are trained with the same {transfer.seeds} seeds, every other arm with the"
        f" first {transfer.other_seeds} of them"
    )


def _statistics(spec: Spec) -> str:
    transfer, prepares = spec.transfer, spec.kind.features.prepares
    without = spec.kind.features.without if spec.kind.features.untreated else "an untreated arm"
    rivals = without, f"random {joined(map(label, spec.kind.features.symbols)) or 'values'}"
    scope = f" for one {prepares}" if prepares else ""
    if not spec.targets and not transfer.advises:
        return f"**Statistics.** {_intervals(spec)}"
    if transfer.advises:
        return f"**Statistics.** {_strategies(spec)} {_intervals(spec, other=True)}"
    levels = [f"{percent(transfer.level(look)):.3g} %" for look in range(1, transfer.looks + 1)]
    looks = "once" if transfer.looks == 1 else f"at most {transfer.looks} times, at {', '.join(levels)} in turn"
    outer = "" if spec.outer.teachers == 1 else " Intervals over teachers, averaged over searches, are given apart."
    least = "" if transfer.rule == 1 else ", with the larger variance of searches and seeds"
    unit = (
        "The regret is the mean over searches; its interval is Student's t over searches, so it covers seeds and search"
        f"{scope} (Snedecor & Cochran 1989, nested sampling){least}, and the verdict is decided over searches."
        if spec.outer.searches >= FEWEST_SEARCHES
        else f"Its interval covers the training seeds of one search{f' and one {prepares}' if prepares else ''}."
    )
    margin, differences = counted(spec.score, transfer.margin), spec.score.differences("test")
    return (
        f"**Statistics.** The one primary question is the regret, native − best, in {differences}, paired by"
        f" seed. {unit}"
        f" The margin is {margin} or, where native measurably gains over {without} and half of"
        " that gain is less, half of that gain (one paired contrast). The verdict is FAILS when the one-sided"
        f" {percent(1 - transfer.level(1)):.3g} % lower t bound is above the margin; TRANSFERS when the upper bound is"
        f" below it (non-inferiority, Piaggio et al. 2012) and native measurably beats {joined(rivals, 'or')}; FLAT"
        f" when native is shown to lie less than {margin} above {joined(('best', *rivals))} alike"
        f"{'' if transfer.rule == 1 else f', and not shown to beat {without}'};"
        f" UNDECIDED otherwise. The test set may be read {looks}; the spec and its time were stored before the"
        f" first look. {_intervals(spec, other=True)}{outer}"
    )


def _strategies(spec: Spec) -> str:
    """Return the compared strategies, their scale, and the rule of the advice."""
    transfer, features = spec.transfer, spec.kind.features
    untreated = untreated_name(spec, spec.targets[0] if spec.targets else "source")
    targets = len(spec.targets) or 1
    elsewhere = f", {strategy_name(spec, 'elsewhere')}" if spec.targets else ""
    here = "tuning on the dataset itself"
    share = f"{percent(transfer.margin_share):.3g} % of what {here} gains over {untreated}"
    margin = share if transfer.margin_share else counted(spec.score, transfer.margin)
    levels = "; ".join(
        f"{strategy_name(spec, name)} "
        + ", ".join(
            f"{percent(level_of(name, looks=transfer.looks, look=look, targets=targets)):.3g} %"
            for look in range(1, transfer.looks + 1)
        )
        for name in STRATEGIES[:-1]
        if name == "default" or spec.targets
    )
    shares = f" Shares are ratios of means over searches (Fieller 1954): 0 % is {untreated}, 100 % {here}."
    untuned = f" or, if that is not shown to gain, {features.untreated_training}" if features.untreated else ""
    return (
        f"Compared are {default_name(spec, is_untuned=True)}{elsewhere} and {here}, in each search with other seeds."
        " Each search gives one value, so intervals are Student's t over searches and cover seeds and search."
        f"{shares if transfer.margin_share else ''} The advice is the first, in this order, that is"
        f" shown to lose less than {margin}: the one-sided upper t bound of that contrast is below 0 (non-inferiority,"
        f" Piaggio et al. 2012), at these levels for each evaluation on the test set: {levels}. Otherwise it is tuning"
        f" there{untuned}. The spec and its time were stored before the first evaluation."
    )


def _intervals(spec: Spec, *, other: bool = False) -> str:
    others, plane = " other" if other else "", len(spec.kind.space(spec)) == PLANE
    both = joined(map(label, spec.kind.space(spec)))
    matter = (
        f" Whether {both} matter is judged by a Gaussian process fitted to all runs of all searches (Rasmussen &"
        " Williams 2006): the share of the search space that loses less than half the standard deviation of a run"
        " against its best point."
    )
    remark = f"{spec.score.remark} " if spec.score.remark else ""
    return (
        f"{remark}All{others} intervals are 95 % t intervals over seeds, of differences paired by seed (Student"
        f" 1908), given one test set, and not adjusted for further evaluations on it. All{others} questions are"
        f"{' secondary, and their p values are' if other else ''} adjusted by Holm's method (1979). Bias-corrected"
        f" bootstrap intervals (Efron 1987) are given from {BCA_FROM} seeds on, sign-flip tests (Fisher 1935) from"
        f" {SIGN_FLIP_FROM} on.{matter if plane else ''}"  # not asked for more parameters
    )


def _name(spec: Spec, arm: str) -> str:
    several = len(spec.targets) > 1
    return words.arm(spec, arm, "each target" if several else spec.role(spec.roles[-1]).dataset)

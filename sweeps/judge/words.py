"""Write a judgement: headline, table and sentences, for a terminal and for the blocks of a page."""

import math
from collections.abc import Iterable, Iterator
from statistics import median

from sweeps.judge.judging import Compared, Judgement
from sweeps.report.document import Advice, Block, Bullets, Figure, Heading, Paragraph, Table, columns, table
from sweeps.stats.estimates import FEWEST_RUNS, Estimate, limits, percent
from sweeps.terminal import number_of, p_equals, p_value

MOST_ROWS = 20  # of the table on a terminal; JSON and page have all
_HEAD = 20  # characters of the baseline's name in a column header
_NAMED = 8  # seeds or settings in a sentence


class Numbers:
    """Write scores and differences with as many digits as their intervals justify."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement
        halves = [
            judgement.shown(ends[1] - ends[0]) / 2
            for setting in judgement.others
            if setting.against.difference is not None and (ends := limits(setting.against.difference))
        ]
        sizes = [abs(judgement.shown(setting.mean)) for setting in judgement.settings]
        # Two digits of the half-width, as usual in papers; without one, four digits of the largest mean.
        size = median(halves) if halves else max(sizes) / 100
        self._digits = min(max(1 - math.floor(math.log10(size)), 0), 9) if size > 0 else 4

    def level(self, score: float, *, unit: bool = True) -> str:
        text = f"{self._judgement.shown(score):.{self._digits}f}"
        return f"{text} %" if unit and self._judgement.runs.percent else text

    def amount(self, difference: float) -> str:
        """Return a difference with its unit."""
        return f"{self.signed(difference, '')}{' points' if self._judgement.runs.percent else ''}"

    def signed(self, difference: float, sign: str = "+") -> str:
        text = f"{self._judgement.shown(difference):{sign}.{self._digits}f}"
        return text if float(text) else text.lstrip("+-")

    def interval(self, value: Estimate) -> str:
        """Return such as "+0.20 [-0.49, +0.89]", or only the mean without an interval."""
        ends, text = limits(value), self.signed(value.mean)
        return text if ends is None else f"{text} [{self.signed(ends[0])}, {self.signed(ends[1])}]"

    def between(self, value: Estimate) -> str:
        ends = limits(value)
        return "" if ends is None else f"95 % CI {self.signed(ends[0], '')} to {self.signed(ends[1], '')}"


def origin(judgement: Judgement) -> str:
    """Return the source: "runs.csv: 25 runs, 5 settings, 5 seeds; accuracy, higher is better"."""
    runs = judgement.runs
    parts = [
        number_of(sum(setting.runs for setting in judgement.settings), "run"),
        number_of(len(judgement.settings), "setting"),
        number_of(len(judgement.seeds), "seed"),
        *([number_of(len(judgement.datasets), "dataset")] if len(judgement.datasets) > 1 else []),
    ]
    return f"{runs.source}: {', '.join(parts)}; {runs.score}, {_better_way(judgement)} is better."


def headline(judgement: Judgement) -> str:
    """Return what to do and what is shown, without numbers: `reason` has those."""
    known, others, baseline = judgement.advice, judgement.others, judgement.baseline
    only = others[0].name if len(others) == 1 else ""
    if known.use == "use":
        return f"Use {known.setting}: it is better than {baseline}."
    if known.use == "keep":
        if all(setting.against.worse for setting in others):
            return f"Keep {baseline}: {only or 'every other setting'} is worse."
        return f"Keep {baseline}: no other setting has a {_better_way(judgement)} mean."
    rival = judgement.other(known.rival)
    if rival is not None and rival.against.p is None:
        return f"Keep {baseline} for now: {_hindrance(judgement, rival)}."
    return f"Keep {baseline} for now: {f'{only} is not' if only else 'no other setting is'} clearly better."


def _hindrance(judgement: Judgement, rival: Compared) -> str:
    """Return why the rival has no test."""
    if rival.is_same:
        return f"{rival.name} has the same scores"
    if rival.against.alike:
        return "every seed gives the same difference"
    has_runs = all(setting.runs >= FEWEST_RUNS for setting in (judgement.base, rival))
    return "too few seeds in common" if has_runs else "too few seeds"


def _better_way(judgement: Judgement) -> str:
    return "lower" if judgement.runs.minimize else "higher"


def reason(judgement: Judgement) -> str:
    """Return the number behind the headline with its interval."""
    numbers, setting = Numbers(judgement), judgement.other(judgement.advice.setting) or judgement.others[0]
    item, value = setting.against, setting.against.difference
    if value is None:
        return ""
    way = "above" if value.mean >= 0 else "below"
    if judgement.runs.minimize:
        way = "below" if value.mean >= 0 else "above"
    lead = value if value.mean >= 0 else value.negated
    best = "" if judgement.advice.use == "use" else ", the best of them," if len(judgement.others) > 1 else ""
    text = f"{setting.name}{best} is {numbers.amount(lead.mean)} {way} {judgement.baseline}"
    if item.p is None:
        return f"{text}, over {_counted(setting, value)}; {_untested(setting)}."
    holm = " after Holm" if len(judgement.others) > 1 else ""
    parts = (numbers.between(lead), f"{p_equals(item.p_holm)}{holm}", _counted(setting, value))
    text = f"{text} ({', '.join(filter(None, parts))})."
    ends = limits(value)
    if item.better or item.worse or ends is None or ends[0] <= 0 <= ends[1]:
        return text
    # The interval alone would suggest a difference.
    return f"{text} A setting is called better or worse below p = {judgement.level:g}."


def _counted(setting: Compared, value: Estimate) -> str:
    return number_of(value.n, "pair") if setting.against.paired else f"{number_of(value.n, 'run')} each"


def _untested(setting: Compared) -> str:
    if setting.against.alike:
        return "all differences are the same number, so seeds say nothing"
    return f"an interval needs {FEWEST_RUNS} seeds{' in common' if setting.against.paired else ' of both'}"


def rows(judgement: Judgement) -> Table:
    """Return the table of all settings, the baseline and then best first."""
    numbers, minimize = Numbers(judgement), judgement.runs.minimize
    unit = ", points" if judgement.runs.percent else ""
    name = judgement.baseline if len(judgement.baseline) <= _HEAD else "baseline"
    less = f"better than {name} by{unit}" if minimize else f"- {name}{unit}"
    heads = ["setting", "runs", f"mean{' %' if judgement.runs.percent else ''}", less, "p, Holm"]
    with_margin = judgement.margin is not None
    differences = [["", "baseline", ""], *(_compared(setting, numbers) for setting in judgement.others)]
    lines = [
        [
            setting.name,
            f"{setting.runs}",
            numbers.level(setting.mean, unit=False),
            *(cells if with_margin else cells[:2]),
        ]
        for setting, cells in zip(judgement.settings, differences, strict=True)
    ]
    return table(columns(*heads, *(["no worse"] if with_margin else []), text=1), lines)


def _compared(setting: Compared, numbers: Numbers) -> list[str]:
    """Return the cells of the difference, of p, and of no worse."""
    value = setting.against.difference
    difference = "" if value is None else numbers.interval(value)
    return [difference, _mark(setting), "yes" if setting.against.no_worse else "not shown"]


def _mark(setting: Compared) -> str:
    item = setting.against
    if item.p_holm is None:
        why = "all alike" if item.alike else "too few seeds" if item.difference is not None else "no dataset shared"
        return "same scores" if setting.is_same else why
    word = " better" if item.better else " worse" if item.worse else ""
    return f"{p_value(item.p_holm)}{word}"


def sentences(judgement: Judgement) -> Iterator[str]:
    """Yield further facts, the most important first."""
    numbers = Numbers(judgement)
    if text := best_run(judgement):
        yield text
    if judgement.ties and _is_tested(judgement):
        yield f"No significant difference from {judgement.best}, which has the best mean: {_few(judgement.ties)}."
    if len(judgement.others) > 1 and float(numbers.signed(judgement.luck_of_choice or 0.0)):
        count, luck = len(judgement.others), numbers.amount(judgement.luck_of_choice or 0.0)
        alike = "both settings" if count == 2 else f"all {count} settings"
        yield (
            f"If {alike} were as good as {judgement.baseline}, the best of them would still be expected"
            f" {luck} better. Were they tuned or chosen on these scores? Then the scores flatter them: rerun the chosen"
            " one on fresh seeds."
        )
    if judgement.margin is not None:
        safe = [setting.name for setting in judgement.others if setting.against.no_worse]
        margin = numbers.amount(judgement.margin)
        yield f"No worse than {judgement.baseline} by {margin}: {_few(safe) if safe else 'none is shown'}."
    yield from _datasets(judgement)
    unpaired = [setting.name for setting in judgement.others if not setting.against.paired]
    if unpaired:
        yield (
            f"Not paired, because no seed is shared with {judgement.baseline} (Welch's test, wider): {_few(unpaired)}."
        )
    yield from _missing(judgement)
    yield from _left_out(judgement)


def best_run(judgement: Judgement) -> str:
    """Return that the best single run is not an improvement, if it might be mistaken for one; else ""."""
    numbers, runs = Numbers(judgement), judgement.runs
    lucky = [
        (setting, setting.best_run)
        for setting in judgement.others
        if setting.best_run is not None and setting.best_run.above > 0 and setting.best_run.runs > 1
        if not setting.is_same
    ]
    if not lucky or judgement.is_improvement:
        return ""
    setting, best = max(lucky, key=lambda pair: pair[1].above)
    way = "below" if runs.minimize else "above"
    on = f" on {best.dataset}" if len(judgement.datasets) > 1 else ""
    beats = " and beats its best run" if best.beats_best else ""
    # A run beyond luck may well be an improvement that so few seeds cannot show.
    is_none = "is no improvement" if best.is_luck and setting.against.p is not None else "proves nothing"
    text = (
        f"The best of {best.runs} seeds {is_none}: {setting.name} reaches {numbers.level(best.score)} with seed"
        f" {best.seed}{on}, {numbers.amount(best.above)} {way} the mean of {judgement.baseline}{beats}."
    )
    if best.luck is None or best.luck_of_all is None:
        return text
    luck = f"Of pure noise, the best of {best.runs} runs is expected {numbers.amount(best.luck)} {way} the mean"
    luck += f", the best of all {best.tried} {numbers.amount(best.luck_of_all)}" if best.tried > best.runs else ""
    return f"{text} {luck}."


def _datasets(judgement: Judgement) -> Iterator[str]:
    if len(judgement.datasets) < 2:
        return
    if len(judgement.common) < len(judgement.datasets):
        where = (
            f"over {_few(judgement.common)}, which all have" if judgement.common else "of each over its own datasets"
        )
        yield f"Means: {where}."
    numbers, setting = Numbers(judgement), judgement.other(judgement.best) or judgement.others[0]
    parts = [f"{dataset} {numbers.interval(value)}" for dataset, value in setting.against.by_dataset.items()]
    if parts:
        more = f"; {len(parts) - _NAMED} more: -f json" if len(parts) > _NAMED else ""
        yield f"{setting.name} by dataset, each with its own interval: {'; '.join(parts[:_NAMED])}{more}."


def _missing(judgement: Judgement) -> Iterator[str]:
    # Only if all settings are paired: without common seeds, every seed of the others would be missing.
    is_paired = all(setting.against.paired for setting in judgement.others)
    parts = []
    for setting in judgement.settings if is_paired else ():
        for dataset, seeds in setting.missing.items():
            on = f" on {dataset}" if dataset and len(judgement.datasets) > 1 else ""
            parts.append(f"{setting.name}{on}: {_few(seeds)}")
    if parts:
        more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
        yield f"Missing seeds, which leave a pair out: {'; '.join(parts[:_NAMED])}{more}."


def _left_out(judgement: Judgement) -> Iterator[str]:
    runs = judgement.runs
    if runs.unfinished:
        states = ", ".join(f"{count} {state}" for state, count in runs.unfinished.items())
        yield f"Left out because they did not finish: {states}."
    if runs.unscored:
        yield f"Left out without a score: {number_of(runs.unscored, 'run')}."
    if runs.repeated:
        yield f"Repeated rows, counted once: {runs.repeated:,}."


def advice(judgement: Judgement) -> str:
    """Return what to do: use a setting, keep the baseline, or run more seeds."""
    known, baseline = judgement.advice, judgement.baseline
    if known.use == "use":
        ties = [name for name in judgement.ties if name != baseline]
        also = f" {_few(ties)} {'does' if len(ties) == 1 else 'do'} as well, within the noise." if ties else ""
        return f"Use {known.setting}.{also}"
    if known.use == "keep":
        return f"Keep {baseline}: no setting has a {_better_way(judgement)} mean."
    rival = judgement.other(known.rival)
    if rival is not None and rival.against.p is None:
        if rival.against.alike:
            return f"Keep {baseline}. Check that the seed changes anything, and that scores are not rounded."
        if rival.against.paired:
            return f"Keep {baseline} until {known.rival} and {baseline} have at least {known.seeds} seeds in common."
        return f"Keep {baseline} until {known.rival} and {baseline} have run with at least {known.seeds} seeds each."
    if known.seeds is None:
        return f"Keep {baseline}: more than 10,000 seeds would be needed to show a lead this small."
    have = len({seed for _, seed in judgement.runs.scores[baseline].keys() & judgement.runs.scores[known.rival].keys()})
    more = f", {known.seeds - have} more," if 0 < have < known.seeds else ""
    return (
        f"Keep {baseline}. If the lead of {known.rival} is as estimated, {known.seeds} seeds{more} show it with 80 %"
        " power."
    )


def _is_tested(judgement: Judgement) -> bool:
    return any(setting.against.p is not None for setting in judgement.others)


def page(judgement: Judgement, *, figure: Figure | None = None) -> list[Block]:
    return [
        Paragraph(origin(judgement), small=True),
        Heading(headline(judgement), level=1),
        *([Paragraph(text, lead=True)] if (text := reason(judgement)) else []),
        Advice(advice(judgement)),
        *([figure] if figure is not None else []),
        rows(judgement),
        Bullets(tuple(sentences(judgement))),
        Paragraph(method(judgement), small=True),
    ]


def method(judgement: Judgement) -> str:
    return (
        "Differences: mean over pairs with the same dataset and seed, with its 95 % t interval; positive is better. p:"
        f" two-sided t test, Holm's over {number_of(len(judgement.others), 'setting')};"
        f" better: below {percent(judgement.level):g} %."
    )


def _few(names: Iterable[str]) -> str:
    known = [*names]
    mark = "; " if any(", " in name for name in known) else ", "  # lr=0.1, depth=2; lr=0.2, depth=2
    return f"{mark.join(known[:_NAMED])} and {len(known) - _NAMED} more" if len(known) > _NAMED else _and(known, mark)


def _and(names: list[str], mark: str) -> str:
    *first, last = names
    both = f"{mark}and " if mark == "; " else " and "
    return f"{mark.join(first)}{both}{last}" if first else last

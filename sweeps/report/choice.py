"""Write the advice and its reasons: the untuned default, values tuned elsewhere, or values tuned here."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.findings.choices import RoleChoice
from sweeps.findings.findings import Findings
from sweeps.hints import PORTABLE
from sweeps.report.document import Advice, Badge, Table, columns, table
from sweeps.report.sentences import another_sweep, finish
from sweeps.report.words import (
    amount,
    between,
    default_name,
    display_name,
    estimated,
    percent_interval,
    points,
    strategy_name,
    untreated_name,
)
from sweeps.spec.model import Spec
from sweeps.stats.advice import Choice, Strategy, StrategyName
from sweeps.stats.estimates import FEWEST_RUNS, Estimate, limits, percent
from sweeps.terminal import duration, joined, number_of

MOST_TIMES = 10  # as many tasks as this sweep: a user would hardly run more to decide


@dataclass(frozen=True)
class StrategyRow:
    """One strategy in figures and tables.

    detail: its point. value: the share of the gain, a fraction, or a difference; None if unknown. kept: value as text.
    price: the cost of one search.
    """

    name: StrategyName
    label: str
    detail: str
    value: Estimate | None
    kept: str
    price: str
    is_advised: bool


def headline(findings: Findings, role: RoleChoice) -> str:
    """Return what to do, in about five words."""
    spec, choice, dataset = findings.spec, role.choice, display_name(role.dataset)
    if choice is None:
        return f"What to use on {dataset} {'is not known yet' if role.left else 'cannot be told'}."
    if choice.use == "untreated":
        prepares, treating = spec.kind.features.prepares, spec.kind.features.treating
        return f"Train without {f'a {prepares}' if prepares else treating}."
    if choice.use == "default":
        default = choice.strategy("default")
        adds = "nothing" if default is not None and _is_negative(spec, default.lost) else "little"
        return f"Use {default_name(spec)}. Tuning adds {adds} here."
    if choice.use == "elsewhere":
        return f"Use values tuned on {_source(spec)}."
    if choice.searches < FEWEST_RUNS:
        return f"Not decided after {_searches(choice.searches)}: more settle it."
    if not choice.settled:
        rivals = [strategy_name(spec, strategy.name) for strategy in _open(choice)]
        return f"Not decided: {joined([*rivals, 'tuning here'], 'or')}."
    # Against the best alternative, no treatment included: any other would be a straw man.
    losses = [strategy.lost for strategy in choice.strategies]
    added = [value for value in (*losses, choice.gain) if value is not None]
    least = min(added, key=lambda value: value.mean, default=None)
    adds = "" if least is None else f": it adds {amount(spec.score, least, sign='')}"
    return f"Tune on {dataset} itself{adds}."


def why(findings: Findings, role: RoleChoice) -> str:
    """Return the reason in one or two sentences, with shares of the gain if a gain was shown."""
    spec, choice, dataset = findings.spec, role.choice, display_name(role.dataset)
    if choice is None:
        missing = role.planned - role.done
        if role.left or missing:
            return f"{role.done} of {role.planned} trainings on {dataset} are done."
        return f"No training on {dataset} was tuned there."
    here, features = f"tuning on {dataset} itself", spec.kind.features
    if choice.gain is None:
        return ""
    rival = untreated_name(spec, role.role)
    if choice.use == "untreated" and choice.gain.high is not None and choice.gain.high < 0:
        lost = estimated(spec.score, choice.gain)
        return f"On {dataset} {features.treating} harms: even tuned there, {lost} against {rival}."
    if choice.use == "untreated":
        return (
            f"On {dataset} {features.treating} gains no more than the noise over {rival}: even tuned there,"
            f" {estimated(spec.score, choice.gain)}."
        )
    over = f"over {rival}" if not _is_negative(spec, choice.gain) else f"compared with {rival}"
    gains = f"On {dataset} {features.treating} {_verb(spec, choice.gain)} {over}"
    cheaper = [strategy for strategy in choice.strategies if strategy.name != "here"]
    if any(strategy.share is None for strategy in choice.strategies):
        known = [
            f"{strategy_name(spec, strategy.name)} {_verb(spec, strategy.gain, is_plural=strategy.name != 'default')}"
            for strategy in cheaper
            if strategy.gain is not None
        ]
        return f"{gains} when tuned there{f'; {joined(known)}' if known else ''}."
    if not cheaper:
        return f"{gains}."
    parts = [
        f"the untuned default keeps {_share(strategy)}"
        if strategy.name == "default"
        else f"{strategy_name(spec, strategy.name)}{'' if number else ' keep'} {_share(strategy)}"
        for number, strategy in enumerate(cheaper)
    ]
    text = ", ".join([f"{parts[0]} of that", *parts[1:]])
    return f"{gains}. {text[0].upper()}{text[1:]}; {here} is the 100 %."


def details(findings: Findings, role: RoleChoice) -> str:
    """Return what tuning here would add and what tuning elsewhere costs or adds, with intervals."""
    spec, choice, dataset = findings.spec, role.choice, display_name(role.dataset)
    if choice is None:
        return ""
    sentences = []
    default, elsewhere = choice.strategy("default"), choice.strategy("elsewhere")
    if default is not None and default.lost is not None:
        adds = "adds" if choice.use == "here" and choice.settled else "would add"
        text = f"{adds} {estimated(spec.score, default.lost)} to"
        if _is_negative(spec, default.lost):
            text = f"would cost {estimated(spec.score, default.lost.negated)} compared with"
        sentences.append(f"Tuning on {dataset} itself {text} {default_name(spec)}.")
    if elsewhere is not None and elsewhere.lost is not None:
        third, text = choice.elsewhere_less_default, f"Values tuned on {_source(spec)}"
        loses = f"lose {estimated(spec.score, elsewhere.lost)} against tuning there"
        if _is_negative(spec, elsewhere.lost):
            loses = f"score {estimated(spec.score, elsewhere.lost.negated)} {spec.score.better} than tuning there"
        if third is None:
            sentences.append(f"{text} {loses}.")
        elif third.mean < 0:
            sentences.append(
                f"{text} cost {estimated(spec.score, third.negated)} compared with the default, and {loses}."
            )
        else:
            sentences.append(f"{text} bring {estimated(spec.score, third)} more than the default, and {loses}.")
    searched: tuple[tuple[StrategyName, str], ...] = (("elsewhere", _source(spec)), ("here", dataset))
    known = {name: point for name, point in role.points.items() if point is not None}
    won = [place for name, place in searched if name in known and known[name] == known.get("default")]
    if won:
        sentences.append(f"On {joined(won)} the first search confirmed the default itself.")
    if choice.searches < FEWEST_RUNS:
        sentences.append(f"An interval over searches needs {FEWEST_RUNS} of them.")
    return " ".join(sentences)


def advice(findings: Findings, role: RoleChoice) -> Advice:
    spec, choice, dataset = findings.spec, role.choice, display_name(role.dataset)
    if choice is None:
        another = Advice("Make another sweep that tunes on this dataset and compares the default.")
        return finish(findings.name, left=role.left > 0, missing=role.done < role.planned) or another
    if choice.use == "untreated":
        return Advice(f"{spec.kind.features.plain}.")
    point = role.points.get(choice.use)
    values = "" if point is None else f" with {point.text()}"
    text = {
        "default": f"Train with {default_name(spec)}{'' if point is None else f', {point.text()}'}.",
        "elsewhere": f"Train{values}, tuned on {_source(spec)}.",
        "here": f"Train{values}, tuned on {dataset} itself.",
    }[choice.use]
    arm = spec.kind.features.defaults[0] if choice.use == "default" else ""
    sources = {} if point is None else spec.kind.paste(spec, point, arm)
    code = tuple((spec.kind.report().display(library), source) for library, source in sources.items())
    if choice.settled or choice.use != "here":
        return Advice(text, code=code)
    more, commands = _settle(findings, role, choice)
    return Advice(f"Until that is decided: {text[0].lower()}{text[1:]} {more}", commands, code)


def badge(findings: Findings, role: RoleChoice) -> Badge:
    """Return the verdict compared with the default, because a transfer that an untuned constant equals is no news."""
    spec, choice = findings.spec, role.choice
    verdict = next((target.verdict for target in findings.verdicts if target.role == role.role), None)
    if choice is None:
        if role.left:
            return Badge(f"NOT YET: {role.done} of {role.planned} trainings are done", "open")
        return Badge("NO ANSWER: trainings are missing", "open")
    default = choice.strategy("default")
    untuned, is_enough = f"{default_name(spec, is_untuned=True)}", default is not None and default.shown
    if verdict is None or choice.searches < FEWEST_RUNS:
        return _alone(choice, untuned)
    if verdict.word == "TRANSFERS":
        if is_enough:
            return Badge(f"TRANSFERS, and so does {untuned}", "good")
        how = f"; whether {untuned} does as well is open"
        if default is None or default.worse:
            how = "" if default is None else f"; {untuned} falls short"
        return Badge(f"TRANSFERS{how}", "good")
    if verdict.word == "FAILS":
        how = f", and {untuned} does better" if is_enough else ": tuned elsewhere, too much is lost"
        return Badge(f"FAILS{how}", "bad")
    if verdict.word == "FLAT":
        return Badge("FLAT: no measurable gain, so nothing to carry over", "open")
    how = f", but {untuned} is good enough" if is_enough else ": more searches decide"
    return Badge(f"UNDECIDED{how}", "open")


def _alone(choice: Choice, untuned: str) -> Badge:
    if choice.use == "untreated":
        return Badge("NO GAIN was shown", "open")
    if choice.use == "default":
        return Badge(f"HELPS, and {untuned} is good enough", "good")
    if not choice.settled:
        return Badge("UNDECIDED: more searches decide", "open")
    return Badge("PAYS: tuning beats the default", "good")


def rows(findings: Findings, role: RoleChoice) -> tuple[StrategyRow, ...]:
    """Return the strategies, cheapest first; empty before they can be compared."""
    spec, choice = findings.spec, role.choice
    if choice is None:
        return ()
    datasets = {"elsewhere": _source(spec), "here": display_name(role.dataset)}
    symbols, lines = spec.kind.features.symbols, []
    is_share = all(strategy.share is not None for strategy in choice.strategies)
    for strategy in choice.strategies:
        point, seconds = role.points.get(strategy.name), role.seconds.get(strategy.name, 0.0)
        on = datasets.get(strategy.name, "")
        label = {"default": "Untuned default", "here": f"Tuned on {on} itself"}.get(strategy.name, f"Tuned on {on}")
        price = f"{duration(round(seconds))} on {on}" if on else "costs nothing"
        detail = "" if point is None else point.brief(symbols)
        value = strategy.share if is_share else gained(choice, strategy)
        is_advised = strategy.name == choice.use and (choice.settled or choice.use != "here")
        lines.append(StrategyRow(strategy.name, label, detail, value, _kept(spec, choice, strategy), price, is_advised))
    return tuple(lines)


def strategies(findings: Findings, role: RoleChoice) -> Table:
    """Return the strategies as a table."""
    heads = columns("strategy", "values", scale(findings, role), "cost of one search, core time", text=2)
    return table(heads, [(row.label, row.detail, row.kept, row.price) for row in rows(findings, role)])


def scale(findings: Findings, role: RoleChoice) -> str:
    """Return the quantity and unit of the strategies' numbers."""
    choice, score = role.choice, findings.spec.score
    if choice is not None and all(strategy.share is not None for strategy in choice.strategies):
        return "share of the gain, 95 % CI"
    return score.over(findings.spec.kind.features.without if choice is None else baseline(findings.spec, choice))


def baseline(spec: Spec, choice: Choice) -> str:
    """Return the reference of gains: no treatment or, if the trainer has none, the cheapest strategy."""
    if choice.gain is not None:
        return spec.kind.features.without
    cheapest = choice.strategies[0].name
    return "the untuned default" if cheapest == "default" else strategy_name(spec, cheapest)


def scope(findings: Findings, role: RoleChoice) -> str:
    """Return the scope of the numbers and their limitations."""
    spec, choice = findings.spec, role.choice
    assert choice is not None
    prepares, searches = spec.kind.features.prepares, _searches(choice.searches)
    fewest, *_, most = sorted(2 * [spec.for_group(group).transfer.seeds for group in spec.searches])
    seeds = f"{'' if fewest == most else f'{fewest} to '}{number_of(most, 'seed')}"
    each = " each" if choice.searches > 1 else ""
    over = f"{searches} with {seeds}{each}{f', one {prepares}' if prepares else ''}"
    texts = [f"Mean and 95 % CI over {over}." if choice.searches >= FEWEST_RUNS else f"Mean over {over}; no interval."]
    if choice.strategy("elsewhere") is not None:
        texts.append(f"In {role.same} of {searches} both datasets chose the same candidate.")
    times = "once" if len(findings.looks) < 2 else f"{len(findings.looks)} times"
    texts.append(f"{spec.kind.features.tested.capitalize()} were used {times}, after every choice.")
    paid = f", its {prepares} included" if prepares else ""
    return " ".join([*texts, f"Cost: of one search{paid}, time on one core."])


def gained(choice: Choice, strategy: Strategy) -> Estimate | None:
    """Return the displayed gain of a strategy over the baseline."""
    if choice.gain is not None:
        return strategy.gain
    cheapest = choice.strategies[0]
    if cheapest.lost is None:
        return None
    if strategy.name == cheapest.name:
        return Estimate(0.0, None, None, cheapest.lost.n)
    return cheapest.lost if strategy.name == "here" else choice.elsewhere_less_default


def _kept(spec: Spec, choice: Choice, strategy: Strategy) -> str:
    if strategy.share is not None:
        return _share(strategy, with_limits=True)
    value = gained(choice, strategy)
    if value is None:
        return ""
    ends = between(spec.score, value).replace(" to ", ", ")
    return f"{amount(spec.score, value)}{f' [{ends}]' if ends else ''}"


def _share(strategy: Strategy, *, with_limits: bool = False) -> str:
    share = strategy.share
    assert share is not None
    ends = limits(share)
    text = f"{percent(share.mean):.0f} %" if ends is None or not with_limits else percent_interval(share.mean, *ends)
    return text.replace("-", "−")


def _searches(number: int) -> str:
    return f"{number} search{'' if number == 1 else 'es'}"


def _verb(spec: Spec, gain: Estimate, *, is_plural: bool = False) -> str:
    """Return such as "gains 2.6 points", or "costs 0.1 points" where a gain is below 0."""
    verb = "cost" if _is_negative(spec, gain) else "gain"
    return f"{verb}{'' if is_plural else 's'} {amount(spec.score, gain, sign='').removeprefix('−')}"


def _is_negative(spec: Spec, value: Estimate | None) -> bool:
    # As displayed: what rounds to 0.0 is not below 0.
    return value is not None and points(spec.score, value).startswith("−")


def _source(spec: Spec) -> str:
    return display_name(spec.source.dataset)


def _open(choice: Choice) -> Sequence[Strategy]:
    # More searches cannot bring back a strategy that is shown to lose too much.
    return [strategy for strategy in choice.strategies if strategy.name != "here" and not strategy.worse]


def _settle(findings: Findings, role: RoleChoice, choice: Choice) -> tuple[str, tuple[str, ...]]:
    """Return what would decide between the strategies, and the commands if that is worth its cost."""
    name, spec = findings.name, findings.spec
    if role.done < role.planned:  # a retry needs no further evaluation on the test set
        return "Let the missing trainings run again first.", (
            PORTABLE.line("retry", name),
            PORTABLE.line("launch", name),
        )
    # Beyond the searches in which a strategy was compared: some may lack a failed training.
    more = [max(rival.needed - rival.lost.n, 1) for rival in _open(choice) if rival.needed and rival.lost is not None]
    searches = choice.searches + min(more, default=0) if choice.searches >= FEWEST_RUNS else FEWEST_RUNS
    if searches == choice.searches:
        return "The estimates favour tuning here: more searches are not expected to find a cheaper choice.", ()
    if (searches - choice.searches) * _tasks_of_search(findings) >= MOST_TIMES * findings.provenance.planned:
        return f"To decide, {searches} searches are needed: more than {MOST_TIMES} times this sweep.", ()
    text = f"{searches} searches decide with 80 % power."
    if choice.searches < FEWEST_RUNS:
        text = f"That takes {searches} searches or more."
    if len(findings.looks) >= spec.transfer.looks:
        tested = spec.kind.features.tested
        return f"{text} No planned use of the {tested} is left: {another_sweep(name, spec, search=searches)}", ()
    extend = PORTABLE.line("extend", name, "--searches", f"+{searches - choice.searches}")
    return text, (extend, PORTABLE.line("launch", name))


def _tasks_of_search(findings: Findings) -> int:
    # The last search, because the first may be larger.
    group = findings.spec.searches[-1]
    return sum(job.work.group == group for job in (*findings.searched, *findings.trainings))

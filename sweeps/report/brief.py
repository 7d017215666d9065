"""Write the answer, or a comparison, in a few lines for a terminal."""

from collections.abc import Sequence

from sweeps.findings.compare import Absent, Compared, Pair, Standing
from sweeps.findings.findings import Findings
from sweeps.hints import as_typed, local
from sweeps.report import answer, choice, compare, older
from sweeps.report.words import compared_with, display_name, effects
from sweeps.terminal import WIDTH, p_equals, wrapped
from sweeps.trainers.score import Score

_NARROWEST = 40


def brief(findings: Findings, *, columns: int, page: str = "") -> str:
    """Return the answer in lines of at most `columns` and WIDTH, except for paths and names that cannot break."""
    width = max(_NARROWEST, min(columns, WIDTH))
    advice = answer.advice(findings)
    lines = [*(_compared(findings, width) if findings.choices else _cards(findings, width)), ""]
    lines += [*_wrapped(as_typed(f"What to do: {advice.text}"), width)]
    for command in advice.commands:
        lines += _command(as_typed(command), width)
    lines.append("")
    for effect in effects(findings):
        lines += _wrapped(effect, width)
    if page:
        lines += _beside("The page:", [f"  {page}"], width)
    else:
        command = local().line("report", findings.name, "-o", f"{findings.name}-report")
        lines += _beside("As a page:", _command(command, width), width)
    lines += [f"answer hash {findings.answer_hash}"] if findings.answer_hash else []
    return "\n".join([*lines, "", *_wrapped(as_typed(answer.summary(findings)), width)])


def _cards(findings: Findings, width: int) -> list[str]:
    lines = [line for text in (*answer.banners(findings), older.question(findings)) for line in _wrapped(text, width)]
    lines.append("")
    for card in older.cards(findings):
        value = f"{card.value}, {card.interval}" if card.interval else card.value
        lines += _wrapped(f"{card.question} {card.word}. {value}", width)
    return lines


def _compared(findings: Findings, width: int) -> list[str]:
    """Return the strategies as a table, on narrow terminals without their points, or as lines."""
    above = (answer.origin(findings).replace("**", ""), *answer.banners(findings))
    lines = [line for text in above for line in _wrapped(text, width)]
    role = findings.choices[0]
    rows = [(row.label, row.detail, row.kept, row.price) for row in choice.rows(findings, role)]
    if not rows:
        return lines
    short = [(label, kept, price) for label, _, kept, price in rows]
    below = [line for label, kept, price in short for line in _wrapped(f"  {label}: {kept}, {price}", width)]
    tables = (_table(rows), _table(short))
    table = next((lines for lines in tables if max(map(len, lines)) <= width), below)
    title = f"{choice.scale(findings, role)}:"
    return [*lines, "", f"{title[0].upper()}{title[1:]}", *table]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _beside(label: str, lines: list[str], width: int) -> list[str]:
    line = f"{label} {lines[0].strip()}"
    return [line] if len(lines) == 1 and len(line) <= width else [label, *lines]


def _command(command: str, width: int) -> list[str]:
    r"""Return a command as lines to paste: a long one continues after a \."""
    lines = wrapped(command, width - 2, first="  ", then="    ")
    return [f"  {command}"] if len(command) + 2 <= width else [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _wrapped(text: str, width: int) -> list[str]:
    return wrapped(text, width, then="  ")


def compared_brief(comparison: Compared, *, columns: int) -> str:
    width = max(_NARROWEST, min(columns, WIDTH))
    texts = [*_sweeps(comparison), ""]
    words = compared_with(comparison.sweeps)
    for dataset in comparison.datasets:
        texts.append(f"On {display_name(dataset)}:")
        texts += [
            f"  {_standing(comparison.score, standing, *words)}"
            for standing in comparison.standings
            if standing.dataset == dataset
        ]
        texts += [f"  {_pair(comparison.score, pair)}" for pair in comparison.pairs if pair.dataset == dataset]
        texts.append("")
    if comparison.differing:
        texts += ["Their specs differ in:", *map(_differing, compare.differing(comparison).rows), ""]
    names = " ".join(comparison.names)
    texts += [f"As a page: {local().line('compare', names, '-o', 'comparison')}", ""]
    texts += filter(None, compare.conclusion(comparison))
    return "\n".join(line for text in texts for line in (_wrapped_below(text, width) if text else [""]))


def _sweeps(comparison: Compared) -> list[str]:
    lines = []
    for name, direction, point, tasks, cost, status in compare.overview(comparison).rows:
        known = f"{direction}; best point {point}; {tasks} tasks, {cost}; {status}"
        lines.append(f"{name}: {status if name in comparison.pending else known}")
    return lines


def _standing(score: Score, standing: Standing, without: str, default: str) -> str:
    sweep, role, gain, tuning, regret, test, _ = compare.cells(score, standing)
    parts = [f"{score.head('test')} {test}", f"over {without} {gain}", f"over {default} {tuning}"]
    if standing.regret is not Absent.PLANNED:
        parts.append(f"regret {regret}")
    return f"{sweep} ({role}): {'; '.join(parts)}"


def _pair(score: Score, pair: Pair) -> str:
    sweeps, _, text, *_ = compare.pair_cells(score, pair)
    return f"{sweeps}: {text}" + ("" if pair.p_holm is None else f", {p_equals(pair.p_holm)} (Holm)")


def _differing(row: tuple[str, ...]) -> str:
    key, *values = row
    return f"  {key.strip('`')}: {' | '.join(values)}"


def _wrapped_below(text: str, width: int) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return wrapped(text.lstrip(), width, first=indent, then=f"{indent}  ")

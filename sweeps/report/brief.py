"""The answer in a few lines of a terminal: question, three numbers, what to do, the headline last."""

import textwrap

from sweeps.analysis.findings import Findings
from sweeps.hints import ANYWHERE, here
from sweeps.report import answer
from sweeps.report.names import called
from sweeps.report.observations import in_short

WIDTH = 100  # columns at most


def brief(findings: Findings, *, columns: int, page: str = "") -> str:
    """Return the lines; none is longer than the terminal or than WIDTH.

    Args:
        columns: of the terminal.
        page: path of the written report; empty: says how to write one.
    """
    width = max(40, min(columns, WIDTH))
    cards = answer.cards(findings)
    advice = answer.advice(findings)
    where = page or here().line("report", findings.name, "-o", f"{findings.name}-report")
    commands = [command.replace(ANYWHERE.program, here().program) for command in advice.commands]
    lines = [*_wrapped(answer.question(findings), width), ""]
    for card in cards:
        value = f"{card.value}, {card.interval}" if card.interval else card.value
        lines += _wrapped(f"{card.question} {card.word}. {value}", width)
    lines += ["", *_wrapped(f"What to do: {advice.text}", width), *(f"  {command}" for command in commands)]
    lines += ["", *(f"{called(one.dataset)}: {in_short(one)}" for one in findings.surfaces)]
    lines += [f"{'The page' if page else 'As a page'}: {where}"]
    lines += [f"answer hash {findings.answer_hash}"] if findings.answer_hash else []
    return "\n".join([*lines, "", *_wrapped(f"{answer.badge(findings).text}. {answer.headline(findings)}", width)])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)

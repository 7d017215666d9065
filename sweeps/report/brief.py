"""The answer in a few lines of a terminal: question, three numbers, what to do, the headline last."""

import re
import textwrap

from sweeps.analysis.findings import Findings
from sweeps.hints import ANYWHERE, here
from sweeps.report import answer
from sweeps.report.names import called
from sweeps.report.observations import in_short
from sweeps.terminal import wrapped

WIDTH = 100  # columns at most
_NARROWEST = 40

_PROGRAM = re.compile(rf"(?<![\w./-]){re.escape(ANYWHERE.program)}(?= [a-z]+ )")  # where a command begins


def brief(findings: Findings, *, columns: int, page: str = "") -> str:
    """Return the lines; none is longer than the terminal or than WIDTH, but for a path or a name that cannot break.

    Args:
        columns: of the terminal.
        page: path of the written report; empty: says how to write one.
    """
    width = max(_NARROWEST, min(columns, WIDTH))
    advice = answer.advice(findings)
    lines = [*_wrapped(answer.question(findings), width), ""]
    for card in answer.cards(findings):
        value = f"{card.value}, {card.interval}" if card.interval else card.value
        lines += _wrapped(f"{card.question} {card.word}. {value}", width)
    lines += ["", *_wrapped(_typed_here(f"What to do: {advice.text}"), width)]
    for command in advice.commands:
        lines += _command(_typed_here(command), width)
    lines.append("")
    for one in findings.surfaces:
        if said := in_short(one):
            lines += _wrapped(f"{called(one.dataset)}: {said}", width)
    lines += _beside("The page:", [f"  {page}"], width) if page else _as_a_page(findings.name, width)
    lines += [f"answer hash {findings.answer_hash}"] if findings.answer_hash else []
    return "\n".join([*lines, "", *_wrapped(f"{answer.badge(findings).text}. {answer.headline(findings)}", width)])


def _as_a_page(name: str, width: int) -> list[str]:
    return _beside("As a page:", _command(here().line("report", name, "-o", f"{name}-report"), width), width)


def _beside(label: str, lines: list[str], width: int) -> list[str]:
    """Return a label and what it names on one line if that fits, else below each other."""
    one = f"{label} {lines[0].strip()}"
    return [one] if len(lines) == 1 and len(one) <= width else [label, *lines]


def _typed_here(text: str) -> str:
    """Return text with its commands as the reader of this terminal can type them."""
    return _PROGRAM.sub(lambda _: here().program, text)


def _command(command: str, width: int) -> list[str]:
    r"""Return a command as lines that can be pasted: one that is too long goes on after a \."""
    lines = textwrap.wrap(
        command,
        width - 2,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"  {command}"] if len(command) + 2 <= width else [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _wrapped(text: str, width: int) -> list[str]:
    return wrapped(text, width, then="  ")

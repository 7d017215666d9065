"""Question, headline, cards and advice of a sweep: with a target and without.

The page, the dashboard's note, `report` on a terminal, `best` and the last lines of `run` all say it from here. What is
said is in `answers.transfer` for a sweep with a target, and in `answers.one_dataset` for one without.
"""

from typing import Protocol

from sweeps.findings.findings import Findings
from sweeps.report import with_target, without_target
from sweeps.report.document import Advice, Badge, Block, Card, Cards, Heading, Paragraph


class _Answer(Protocol):
    """What each of the two modules says."""

    def question(self, findings: Findings) -> str: ...
    def headline(self, findings: Findings) -> str: ...
    def badge(self, findings: Findings) -> Badge: ...
    def cards(self, findings: Findings) -> tuple[Card, ...]: ...
    def advice(self, findings: Findings) -> Advice: ...


def _of(findings: Findings) -> _Answer:
    return with_target if findings.verdicts else without_target


def blocks(findings: Findings) -> list[Block]:
    """Return what every page opens with."""
    return [
        Paragraph(question(findings), small=True),
        Heading(headline(findings), level=1),
        badge(findings),
        Cards(cards(findings)),
        advice(findings),
    ]


def question(findings: Findings) -> str:
    """Return what the sweep was made to find out."""
    return _of(findings).question(findings)


def headline(findings: Findings) -> str:
    """Return the answer with its numbers, in words that need no explanation; two to four short sentences."""
    return _of(findings).headline(findings)


def badge(findings: Findings) -> Badge:
    """Return the verdict as a word, with what it means."""
    return _of(findings).badge(findings)


def cards(findings: Findings) -> tuple[Card, ...]:
    """Return the numbers that stand side by side."""
    return _of(findings).cards(findings)


def advice(findings: Findings) -> Advice:
    """Return what to do, and the commands for it."""
    return _of(findings).advice(findings)

"""The answer of a sweep by its declared rule: what to use or, for older sweeps, whether its point transfers.

The page, the note in the dashboard, `report`, `best` and the last lines of `run` all use it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from sweeps.findings.choices import RoleChoice
from sweeps.findings.findings import Findings
from sweeps.report import choice, older, words
from sweeps.report.document import Advice, Badge, Block, Cards, Heading, Paragraph
from sweeps.spec.model import SMOKE_TEST


def blocks(findings: Findings, figures: Iterable[Block] = ()) -> list[Block]:
    """Return the opening of the page; figures: of the strategies, shown before what to do."""
    above: list[Block] = [Paragraph(origin(findings), small=True), *(Badge(text, "open") for text in banners(findings))]
    first = Heading(headline(findings), level=1)
    if not findings.choices:
        return [
            *above,
            Paragraph(older.question(findings), small=True),
            first,
            badge(findings),
            Cards(older.cards(findings)),
            advice(findings),
        ]
    role = findings.choices[0]
    reasons = [Paragraph(text, lead=True) for text in (choice.why(findings, role),) if text]
    compared = [Paragraph(text) for text in (choice.details(findings, role),) if text]
    table = [choice.strategies(findings, role)] if choice.rows(findings, role) else []
    return [*above, first, *reasons, *(list(figures) or table), *compared, advice(findings)]


def banners(findings: Findings) -> list[str]:
    """Return what a reader has to know before the answer."""
    spec = findings.spec
    return [*([SMOKE_TEST] if spec.is_smoke_test else []), *filter(None, [spec.kind.report().banner(spec)])]


def origin(findings: Findings) -> str:
    """Return the line above the answer: name of the sweep, day of its latest result, data."""
    results = [*findings.searched, *findings.trainings]
    latest = max((job.row.finished_at for job in results if job.row.finished_at is not None), default=None)
    parts = [f"Sweep **{findings.name}**", _data(findings)]
    if latest is not None:
        day = datetime.fromtimestamp(latest, UTC)
        parts.insert(1, f"{day.day} {day:%B %Y}")
    return " · ".join(parts)


def _data(findings: Findings) -> str:
    spec = findings.spec
    counts = {role: spec.kind.examples(spec, role) for role in spec.roles}
    names = {role: words.display_name(spec.role(role).dataset) for role in spec.roles}
    if len(set(counts.values())) > 1:
        names = {role: f"{name} ({counts[role]:,} images)" for role, name in names.items()}
    targets = ", ".join(names[role] for role in spec.targets)
    text = " → ".join(filter(None, (names["source"], targets)))
    alike = counts["source"] if len(set(counts.values())) == 1 else 0
    return f"{text}, {alike:,} images{' each' if targets else ''}" if alike else text


def headline(findings: Findings) -> str:
    return choice.headline(findings, findings.choices[0]) if findings.choices else older.headline(findings)


def badge(findings: Findings) -> Badge:
    return choice.badge(findings, findings.choices[0]) if findings.choices else older.badge(findings)


def advice(findings: Findings) -> Advice:
    return choice.advice(findings, findings.choices[0]) if findings.choices else older.advice(findings)


def statement(findings: Findings) -> str:
    """Return the answer with its numbers in a few sentences."""
    return in_full(findings, findings.choices[0]) if findings.choices else older.headline(findings)


def announced(findings: Findings) -> str:
    """Return the banners and the statement, for surfaces that show nothing else."""
    return " ".join([*banners(findings), statement(findings)])


def summary(findings: Findings) -> str:
    """Return the statement, for older rules after the verdict."""
    return statement(findings) if findings.choices else f"{badge(findings).text}. {statement(findings)}"


def in_full(findings: Findings, role: RoleChoice) -> str:
    """Return what to use on one dataset and why in a few sentences."""
    parts = (choice.headline, choice.why, choice.details)
    return " ".join(filter(None, (part(findings, role) for part in parts)))

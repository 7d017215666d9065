"""The page of a report: the answer, the figures that carry it, and everything else folded below."""

from collections.abc import Iterable, Mapping

from sweeps.analysis.findings import Findings
from sweeps.report import answer, markdown
from sweeps.report.document import Block, Figure, Heading, Paragraph
from sweeps.report.names import called
from sweeps.report.sections import cost, numbers, provenance
from sweeps.report.sentences import regret, sentence


def report(findings: Findings) -> str:
    """Return the report without figures, as Markdown; unfinished parts say so."""
    return markdown.text(page(findings))


def page(
    findings: Findings,
    *,
    figures: Mapping[str, Figure] | None = None,
    secondary: Iterable[Block] = (),
    methods: Iterable[Block] = (),
) -> list[Block]:
    """Return the whole page.

    Args:
        figures: those that are there, by name; a report on the terminal has none.
        secondary, methods: what a written report has, and `report` on the terminal has no time for.
    """
    figures = figures or {}
    return [
        *note(findings),
        *answer.blocks(findings),
        *further(findings),
        *_shown("What each choice of T and α gains", figures, "gains"),
        *_lost(findings, figures),
        *_shown("What other methods reach", figures, "methods"),
        numbers.searches(findings, _figure(figures, "surface")),
        numbers.numbers(findings, secondary),
        *cost.section(findings, _figure(figures, "break-even")),
        *methods,
        provenance.section(findings),
        *signature(findings),
    ]


def title(findings: Findings) -> str:
    """Return the title of the page: the sweep and its datasets."""
    spec = findings.spec
    targets = ", ".join(called(spec.role(role).dataset) for role in spec.targets)
    return f"{findings.name}: {called(spec.source.dataset)}{f' -> {targets}' if targets else ''}"


def signature(findings: Findings) -> list[Block]:
    """Return the answer hash, once every task has ended: another run of the same spec ends in the same one."""
    return [Paragraph(f"answer hash {findings.answer_hash}")] if findings.answer_hash else []


def note(findings: Findings) -> list[Block]:
    """Return the note of the spec, if it has one, on one line."""
    text = " ".join(findings.spec.note.split())
    return [Paragraph(f"Note: {text}")] if text else []


def further(findings: Findings) -> list[Block]:
    """Return the verdicts on targets that the headline is not about."""
    return [Paragraph(sentence(findings, one)) for one in findings.verdicts[1:]]


def _lost(findings: Findings, figures: Mapping[str, Figure]) -> list[Block]:
    """Return the regret, with what its interval covers."""
    said = regret(findings.verdicts[0]) if findings.verdicts else ""
    if not said:
        return []
    heading = f"What is lost by not tuning on {called(findings.verdicts[0].dataset)}"
    return [Heading(heading), *_figure(figures, "regret"), Paragraph(said)]


def _shown(heading: str, figures: Mapping[str, Figure], name: str) -> list[Block]:
    found = _figure(figures, name)
    return [Heading(heading), *found] if found else []


def _figure(figures: Mapping[str, Figure], name: str) -> list[Block]:
    return [figures[name]] if name in figures else []

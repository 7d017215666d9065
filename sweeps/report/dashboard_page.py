"""The answer inside optuna-dashboard: verdict, table and figures on the page of the search study."""

from collections.abc import Mapping

from storage.studies.space import study_name
from sweeps.analysis.findings import Findings
from sweeps.hints import ANYWHERE
from sweeps.plan.tasks import STAGES
from sweeps.report import answer, markdown, page
from sweeps.report.document import Paragraph
from sweeps.report.figures.data import pictures
from sweeps.report.figures.plotly_figures import figures
from sweeps.report.sections import numbers
from sweeps.report.sentences import regret
from sweeps.spec.losses import formula


def note(findings: Findings, ids: Mapping[str, int]) -> str:
    """Return the page of the search study as Markdown.

    Args:
        ids: of the studies, which are the numbers of their pages; those that were deleted have none.
    """
    name = findings.name
    linked = {stage: ids[study_name(name, stage)] for stage in STAGES if study_name(name, stage) in ids}
    siblings = ", ".join(f"[{stage}](/dashboard/studies/{number})" for stage, number in linked.items())
    compared = ",".join(str(linked[stage]) for stage in ("search", "native") if stage in linked)
    blocks = [
        *page.note(findings),
        *answer.blocks(findings),
        *page.further(findings),
        *(Paragraph(lost) for one in findings.verdicts[:1] if (lost := regret(one))),
        *(block for role in findings.shown_roles for block in numbers.accuracies(findings, role)),
        Paragraph(
            "The key figure is on the first page of this study. The best trial shown there is the highest of many"
            f" single runs, which is partly luck: `{ANYWHERE.best(name)}` gives the confirmed best. Loss:"
            f" `{formula(findings.spec.training.distillation)}`; alpha weighs the labels."
        ),
        Paragraph(
            f"Studies of this sweep: {siblings};"
            f" [search and native compared](/dashboard/compare-studies?ids={compared})."
        ),
        *page.signature(findings),
    ]
    return f"{markdown.text(blocks)}\n"


def plots(findings: Findings) -> dict[str, str]:
    """Return the figures of the page: plotly figures as JSON, by name."""
    return {key: str(figure.to_json()) for key, figure in figures(pictures(findings)).items()}

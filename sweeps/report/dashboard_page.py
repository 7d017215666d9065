"""The answer inside optuna-dashboard: verdict, table and figures on the page of the search study."""

import contextlib
from collections.abc import Mapping

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage.db import engine as engines
from storage.errors import StorageError
from storage.records import queries
from storage.studies import adapter
from storage.studies.names import study_name
from sweeps.analysis.findings import Findings
from sweeps.analysis.load import load
from sweeps.errors import NoResultsYet
from sweeps.hints import ANYWHERE, explain
from sweeps.plan.tasks import STAGES
from sweeps.report import markdown, page
from sweeps.report.document import Heading, Paragraph
from sweeps.report.figures.data import pictures
from sweeps.report.figures.plotly_figures import figures
from sweeps.terminal import say


def publish(url: sqlalchemy.URL, name: str) -> None:
    """Put what the report says of a finished sweep where people who watch the dashboard see it.

    Two workers that finish together publish one after the other, and the second one finds its text there already and
    writes nothing. Nothing depends on the page, so a failure (a deleted study, a database that went away) is reported
    in one line.
    """
    try:
        # One at a time: two that replace the plots of a study at once insert the same keys.
        with engines.create_lock(url), contextlib.closing(adapter.open_studies(url)) as opened:
            findings = load(opened.engine, queries.find_sweep(opened.engine, name))
            plots = {key: str(figure.to_json()) for key, figure in figures(pictures(findings)).items()}
            opened.publish(study_name(name, "search"), note=note(findings, opened.ids()), plots=plots)
    except (StorageError, NoResultsYet) as error:
        say(f"the answer could not be published to the dashboard: {explain(error)}")


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
        Heading(name, level=1),
        *page.note(findings),
        *page.answer(findings),
        *page.comparison(findings),
        Paragraph(
            "The figures are on the first page of this study. The best trial shown there is the highest of many single"
            f" runs, which is partly luck: `{ANYWHERE.line('best', name)}` gives the confirmed best. Loss:"
            f" `{LOSS_FORMULA}`; alpha weighs the labels."
        ),
        Paragraph(
            f"Studies of this sweep: {siblings};"
            f" [search and native compared](/dashboard/compare-studies?ids={compared})."
        ),
    ]
    return f"{markdown.text(blocks)}\n"

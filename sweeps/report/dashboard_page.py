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
from sweeps.analysis.analysis import Analysis
from sweeps.analysis.load import analyse
from sweeps.errors import NoResultsYet
from sweeps.hints import explain
from sweeps.plan.tasks import STAGES
from sweeps.report.figure_data import pictures
from sweeps.report.markdown import answer, comparison_table
from sweeps.report.plotly_figures import figures
from sweeps.terminal import say


def publish(url: sqlalchemy.URL, name: str) -> None:
    """Puts what the report says of a finished sweep where people who watch the dashboard see it.

    Nothing depends on it, so what stands in its way (a study that was deleted, a database that went away) is one line.
    """
    try:
        # One at a time: two that replace the plots of a study at once insert the same keys.
        with engines.create_lock(url), contextlib.closing(adapter.open_studies(url)) as opened:
            found = analyse(opened.engine, queries.find_sweep(opened.engine, name))
            plots = {key: str(figure.to_json()) for key, figure in figures(pictures(found)).items()}
            opened.publish(study_name(name, "search"), note=note(found, opened.ids()), plots=plots)
    except (StorageError, NoResultsYet) as error:
        say(f"the answer could not be put into the dashboard: {explain(error)}")


def note(found: Analysis, ids: Mapping[str, int]) -> str:
    """The page of the search study as Markdown.

    Args:
        ids: of the studies, which are the numbers of their pages; those that were deleted have none.
    """
    name = found.comparison.sweep.name
    linked = {stage: ids[study_name(name, stage)] for stage in STAGES if study_name(name, stage) in ids}
    siblings = ", ".join(f"[{stage}](/dashboard/studies/{number})" for stage, number in linked.items())
    compared = ",".join(str(linked[stage]) for stage in ("search", "native") if stage in linked)
    lines = [
        f"# {name}",
        "",
        *([f"Note: {' '.join(found.spec.note.split())}", ""] if found.spec.note else []),
        *answer(found),
        "",
        *comparison_table(found.comparison),
        "",
        "The figures are on the first page of this study. The trophy there is the luckiest single run:"
        f" `kd-sweeps best {name}` gives the confirmed best. Loss: `{LOSS_FORMULA}`; alpha weighs the labels.",
        "",
        f"Studies of this sweep: {siblings}; [search and native compared](/dashboard/compare-studies?ids={compared}).",
    ]
    return "\n".join(lines) + "\n"

"""Publish the answer of a finished sweep on the page of its search study in optuna-dashboard."""

import contextlib

import sqlalchemy

from storage.db.engine import create_lock
from storage.errors import StorageError
from storage.records import queries
from storage.studies.ownership import owner_of
from storage.studies.space import study_name
from storage.studies.studies import open_studies
from sweeps.analysis.load import load
from sweeps.errors import NoResultsYet
from sweeps.hints import explain
from sweeps.report.dashboard_page import note, plots
from sweeps.terminal import say


def publish(url: sqlalchemy.URL, name: str) -> None:
    """Put what the report says of a sweep where people who watch the dashboard see it.

    Two workers that finish together publish one after the other; the second one finds its text there already and
    writes nothing. Nothing depends on the page, so a failure (a deleted study, a database that went away) is reported
    in one line.
    """
    try:
        # One at a time: two that replace the plots of a study at once insert the same keys.
        with create_lock(url), contextlib.closing(open_studies(url)) as opened:
            sweep = queries.find_sweep(opened.engine, name)
            findings, owner = load(opened.engine, sweep), owner_of(opened.engine, sweep.id)
            text = note(findings, opened.ids())
            opened.publish(study_name(name, "search"), owner=owner, note=text, plots=plots(findings))
    except NoResultsYet:
        pass  # everything has ended, most of it by failing, as whoever calls says: there is no answer to publish
    except StorageError as error:
        say(f"the answer could not be published to the dashboard: {explain(error)}")

"""Load the analysis of a stored sweep."""

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.analysis import looks
from sweeps.analysis.analysis import Analysis
from sweeps.analysis.comparison import Comparison
from sweeps.errors import NoResultsYet


def analyse(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Analysis:
    """The analysis of a sweep of which at least one task has finished.

    Raises:
        NoResultsYet: none has.
    """
    found = Comparison(engine, sweep)
    if not any(task.state == "done" for task in found.tasks):
        running = len(queries.running(engine, sweep.id))
        raise NoResultsYet(
            f"nothing of {sweep.name} has finished yet ({running} tasks running, {len(found.tasks)} planned); "
            f"go on with: kd-sweeps launch {sweep.name}"
        )
    return Analysis(found, looks.of_sweep(engine, sweep.id))

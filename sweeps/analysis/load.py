"""Load what a stored sweep found."""

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.analysis.findings import Findings, findings
from sweeps.analysis.stored import read
from sweeps.errors import NoResultsYet
from sweeps.hints import here


def load(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Findings:
    """Return the findings of a sweep of which at least one task has finished. Reads only.

    Raises:
        NoResultsYet: none has.
        storage.errors.RecordBroken: a stored payload or outcome is not what such a task has.
    """
    stored = read(engine, sweep)
    if not stored.done:
        at_work = len(queries.running_tasks(engine, sweep.id))
        raise NoResultsYet(
            f"nothing of {sweep.name} has finished yet ({at_work} tasks running, {len(stored.tasks)} planned);"
            f" continue with: {here().launch(sweep.name)}"
        )
    return findings(stored)

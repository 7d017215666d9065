"""Export the finished trainings of a sweep to a tracker, into a folder on this machine."""

from pathlib import Path

import sqlalchemy

from storage.records.queries import SweepRecord
from sweeps.analysis.stored import read
from sweeps.errors import SpecError, SweepError
from sweeps.service.trackers import mlflow_store, wandb_folders
from sweeps.service.trackers.runs import Exported, check_tracker, runs


def export_runs(engine: sqlalchemy.Engine, sweep: SweepRecord, tracker: str, folder: Path) -> Exported:
    """Write every finished training of a sweep as a run. Reads the database only.

    Args:
        tracker: "mlflow" or "wandb".
        folder: made if it is missing; what is in it stays.

    Raises:
        SpecError: another tracker, or a folder that cannot be.
        SweepError: its library is not installed here, or cannot write there.
        NoResultsYet: nothing has finished.
        storage.errors.RecordBroken: what is stored is damaged.
    """
    check_tracker(tracker)
    found = runs(read(engine, sweep))
    library = mlflow_store.load() if tracker == "mlflow" else wandb_folders.load()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            f"--output: cannot write into {folder}: {error.strerror}; give a folder, for example: -o runs"
        ) from None
    try:
        if tracker == "mlflow":
            return mlflow_store.write(library, sweep.name, sweep.fingerprint, found, folder)
        return wandb_folders.write(library, sweep.name, found, folder)
    except OSError as error:
        raise SweepError(f"--to {tracker}: cannot write into {folder}: {error.strerror}") from error

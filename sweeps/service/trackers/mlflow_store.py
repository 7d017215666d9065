"""Write runs into a local MLflow store: one SQLite file in a folder, by MLflow's public client. No network.

A SQLite file, because MLflow no longer writes folders of files without being told to:
https://mlflow.org/docs/latest/self-hosting/migrate-from-file-store
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError
from sweeps.service.trackers.runs import Exported, Run

FILE = "mlflow.db"
STEPS = "epoch_val_accuracy"
_AT_ONCE = 1000  # metrics that MLflow takes in one call
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}  # both read when it is imported


def load() -> Any:
    """Return the library; raise SweepError where it is not installed, with what to type."""
    os.environ.update(_QUIET)
    try:
        return importlib.import_module("mlflow")
    except ImportError:
        raise SweepError("--to mlflow: MLflow is not installed here; type: pip install mlflow-skinny") from None


def write(mlflow: Any, name: str, fingerprint: str, runs: Sequence[Run], folder: Path) -> Exported:
    """Write the runs into the experiment of that name; a run that is there gets what it lacks, and nothing twice.

    So a sweep is exported again when more of it has finished, and an export that was interrupted is completed.

    Args:
        mlflow: the library.
        folder: is there; may hold other experiments.

    Raises:
        SweepError: MLflow cannot use the file, or the experiment there is of another spec.
    """
    uri = f"sqlite:///{(folder / FILE).absolute()}"
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, name, fingerprint, folder)
        there = _there(client, experiment)
        written = [run for run in runs if _write(client, experiment, run, there.get(run.key))]
    except mlflow.exceptions.MlflowException as error:
        raise SweepError(f"--to mlflow: {folder / FILE}: {' '.join(str(error).split())}") from None
    see = f"mlflow ui --backend-store-uri {uri}"
    return Exported(written=len(written), there=len(runs) - len(written), see=see)


def _experiment(client: Any, name: str, fingerprint: str, folder: Path) -> str:
    """Return the id of the experiment, which is made if it is missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = (folder.absolute() / "artifacts" / name).as_uri()  # else under the folder where this was typed
        made = client.create_experiment(name, artifact_location=place, tags={"fingerprint": fingerprint})
        return str(made)
    if found.tags.get("fingerprint") != fingerprint:
        raise SweepError(
            f"--to mlflow: {folder / FILE} has an experiment {name} that is not of this spec ({fingerprint[:12]});"
            " give another folder"
        )
    if found.lifecycle_stage != "active":
        raise SweepError(f"--to mlflow: the experiment {name} in {folder / FILE} was deleted; give another folder")
    return str(found.experiment_id)


def _there(client: Any, experiment: str) -> Mapping[str, Any]:
    """Return the runs of an experiment by the task that they are of."""
    found: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_AT_ONCE, page_token=token)
        found |= {run.data.tags.get("task", ""): run for run in page}
        token = page.token
        if not token:
            return found


def _write(client: Any, experiment: str, run: Run, old: Any) -> bool:
    """Write what MLflow does not have of a run; return whether that was anything."""
    entities = importlib.import_module("mlflow.entities")
    known = {} if old is None else old.data.metrics
    start, end = (round(1000 * at) for at in (run.started_at, run.finished_at))
    metrics = [
        entities.Metric(STEPS, value, end, step)
        for step, value in enumerate(run.epochs, start=1)
        if value is not None and STEPS not in known
    ]
    metrics += [entities.Metric(name, value, end, 0) for name, value in run.metrics.items() if name not in known]
    tags = {name: value for name, value in run.tags.items() if old is None or old.data.tags.get(name) != value}
    if old is not None and not metrics and not tags and old.info.status == "FINISHED":
        return False
    if old is None:
        old = client.create_run(experiment, start_time=start, run_name=run.key, tags={"task": run.key})
    for first in range(0, len(metrics), _AT_ONCE):
        client.log_batch(old.info.run_id, metrics=metrics[first : first + _AT_ONCE])
    client.log_batch(
        old.info.run_id,
        params=[entities.Param(name, str(value)) for name, value in run.parameters.items()],
        tags=[entities.RunTag(name, value) for name, value in tags.items()],
    )
    client.set_terminated(old.info.run_id, status="FINISHED", end_time=end)
    return True

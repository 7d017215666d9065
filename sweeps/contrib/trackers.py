"""Export finished trainings as runs of MLflow or Weights & Biases into a folder.

MLflow gets a SQLite file, since its stores of files are deprecated:
https://mlflow.org/docs/latest/self-hosting/migrate-from-file-store
"""

import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import sqlalchemy

from storage.tables import SweepRecord
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.extensions import TRACKERS, load, names, require
from sweeps.findings.load import StoredSweep, is_incomplete, read
from sweeps.hints import local
from sweeps.plan import identity, jobs
from sweeps.trainers.score import ACCURACY, Score

Value: TypeAlias = str | int | float
FILE = "mlflow.db"
_AT_ONCE = 1000  # MLflow's limit of metrics in one call
FOLDER = "wandb"
_LONGEST_TAG = 64  # characters: https://docs.wandb.ai/models/runs/tags

# Read when the libraries are imported: without telemetry and error reports, which would need the network.
_QUIET_MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
_QUIET_WANDB = {"WANDB_ERROR_REPORTING": "false"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished training.

    key, stage: of its task. started_at, finished_at: seconds since 1970, of its last attempt. parameters: of the
    training, T and alpha first. metrics: scores as the trainer gave them (accuracies are fractions), seconds, number of
    weights. epochs: validation score after each epoch, None where it was not computed. steps: name of that metric.
    tags: for searching.
    """

    key: str
    stage: str
    started_at: float
    finished_at: float
    parameters: Mapping[str, Value]
    metrics: Mapping[str, float]
    epochs: tuple[float | None, ...]
    tags: Mapping[str, str]
    steps: str = ACCURACY.own_key("epoch_val")


@dataclass(frozen=True)
class Exported:
    """The result of an export. there: runs that were complete before. see: the command that shows or sends them."""

    written: int
    there: int
    see: str


class Tracker(Protocol):
    """Writes runs in the format of one tracker."""

    def __call__(self, sweep: SweepRecord, runs: Sequence[Run], folder: Path) -> Exported:
        """Write the runs of a sweep into an existing folder; runs in it stay.

        Raises:
            SweepError, OSError: the folder cannot be written.
        """


def check_tracker(name: str) -> None:
    if name not in names("trackers"):
        raise SpecError(f"--to: got {name!r}; allowed: {', '.join(names('trackers'))}")


def runs(stored: StoredSweep) -> tuple[Run, ...]:
    """Return the finished trainings in the order of the plan.

    Leaves out the test scores of a dataset until all of that look are complete, as reports do.
    """
    hidden: set[str] = {role for role in stored.spec.roles if is_incomplete(stored.trainings, role)}
    # The answer hash is None until every task has ended.
    shared = {"sweep": stored.sweep.name, "fingerprint": stored.sweep.fingerprint}
    shared |= {"answer_hash": answer} if (answer := identity.answer_hash(stored.rows)) else {}
    finished = tuple(run for done in stored.done if (run := _run(done, shared, hidden, stored.spec.score)) is not None)
    if not finished:
        name = stored.sweep.name
        raise NoResultsYet(f"no training of {name} has finished yet; continue with: {local().line('launch', name)}")
    return finished


def _run(done: jobs.DoneJob, shared: Mapping[str, str], hidden: set[str], score: Score) -> Run | None:
    outcome, record = done.outcome, done.row
    if isinstance(outcome, jobs.ScoreOutcome | jobs.MeasureOutcome):
        return None
    parameters: dict[str, Value] = {}
    metrics = {
        score.own_key("val"): score.signed(outcome.val_accuracy),
        "train_s": outcome.train_s,
        "cpu_s": outcome.cpu_s,
    }
    metrics["parameters"] = float(outcome.parameters)
    if isinstance(outcome, jobs.StudentOutcome):
        parameters |= {**outcome.point.as_dict(), "loss": outcome.loss}
        if outcome.test_accuracy is not None and done.work.role not in hidden:
            metrics[score.own_key("test")] = score.signed(outcome.test_accuracy)
    elif isinstance(outcome, jobs.TeacherOutcome):
        parameters["model"] = outcome.model
    elif isinstance(outcome, jobs.BaselineOutcome):
        parameters["method"] = outcome.method
    parameters |= {"dataset": outcome.dataset, "train_images": outcome.train_images}
    return Run(
        key=record.key,
        stage=record.stage,
        started_at=record.started_at or 0.0,
        finished_at=record.finished_at or 0.0,
        parameters={name: value for name, value in parameters.items() if value != ""},
        metrics=metrics,
        epochs=tuple(None if value is None else score.signed(value) for value in outcome.epoch_val_accuracy),
        steps=score.own_key("epoch_val"),
        tags=_tags(done, shared),
    )


def _tags(done: jobs.DoneJob, shared: Mapping[str, str]) -> dict[str, str]:
    outcome, record = done.outcome, done.row
    work, commit = done.work, outcome.provenance.get("git_commit")
    arm = getattr(work, "arm", None) or getattr(work, "method", None)
    tags = {
        "task": record.key,
        "stage": record.stage,
        "role": work.role,
        "arm": arm,
        "group": work.tag,
        "repeat": getattr(work, "repeat", None),
        "seed": work.seed,
        "worker": outcome.worker or record.worker,
        "commit": commit,
        "numerics": getattr(outcome, "numerics", ""),
        **shared,
    }
    return {name: str(value) for name, value in tags.items() if value not in (None, "")}


def load_mlflow() -> Any:
    os.environ.update(_QUIET_MLFLOW)
    return importlib.import_module("mlflow")


def to_mlflow(sweep: SweepRecord, runs: Sequence[Run], folder: Path) -> Exported:
    return write_mlflow(load_mlflow(), sweep.name, sweep.fingerprint, runs, folder)


def write_mlflow(mlflow: Any, name: str, fingerprint: str, runs: Sequence[Run], folder: Path) -> Exported:
    """Write the runs into the experiment of that name; add to an existing run only what it lacks.

    So an export can be repeated when more trainings have finished, or after an interruption.
    """
    uri = f"sqlite:///{(folder / FILE).absolute()}"
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, name, fingerprint, folder)
        existing = _there(client, experiment)
        written = [run for run in runs if _write_mlflow_run(client, experiment, run, existing.get(run.key))]
    except mlflow.exceptions.MlflowException as error:
        raise SweepError(f"--to mlflow: {folder / FILE}: {' '.join(str(error).split())}") from None
    see = f"mlflow ui --backend-store-uri {uri}"
    return Exported(written=len(written), there=len(runs) - len(written), see=see)


def _experiment(client: Any, name: str, fingerprint: str, folder: Path) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = (folder.absolute() / "artifacts" / name).as_uri()  # the default is below the current folder
        number = client.create_experiment(name, artifact_location=place, tags={"fingerprint": fingerprint})
        return str(number)
    if experiment.tags.get("fingerprint") != fingerprint:
        raise SweepError(
            f"--to mlflow: {folder / FILE} has an experiment {name} of a different spec than {fingerprint[:12]};"
            " give another folder"
        )
    if experiment.lifecycle_stage != "active":
        raise SweepError(f"--to mlflow: the experiment {name} in {folder / FILE} was deleted; give another folder")
    return str(experiment.experiment_id)


def _there(client: Any, experiment: str) -> Mapping[str, Any]:
    by_task: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_AT_ONCE, page_token=token)
        by_task |= {run.data.tags.get("task", ""): run for run in page}
        token = page.token
        if not token:
            return by_task


def _write_mlflow_run(client: Any, experiment: str, run: Run, old: Any) -> bool:
    entities = importlib.import_module("mlflow.entities")
    known = {} if old is None else old.data.metrics
    start, end = (round(1000 * at) for at in (run.started_at, run.finished_at))
    metrics = [
        entities.Metric(run.steps, value, end, step)
        for step, value in enumerate(run.epochs, start=1)
        if value is not None and run.steps not in known
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


def load_wandb() -> Any:
    os.environ.update(_QUIET_WANDB)
    return importlib.import_module("wandb")


def to_wandb(sweep: SweepRecord, runs: Sequence[Run], folder: Path) -> Exported:
    return write_wandb(load_wandb(), sweep.name, runs, folder)


def write_wandb(wandb: Any, name: str, runs: Sequence[Run], folder: Path) -> Exported:
    """Write the runs as folders of the project of that name; a run with a folder is left unchanged.

    Each is written to a temporary folder and then moved, so that a killed export leaves only complete runs.
    """
    destination = folder / FOLDER
    destination.mkdir(exist_ok=True)
    new = [run for run in runs if not list(destination.glob(f"offline-run-*-{run_id(run)}"))]
    try:
        for run in new:
            with tempfile.TemporaryDirectory(prefix=".wandb-", dir=folder) as temporary, _unseen_arguments():
                run_folder = _write_wandb_run(wandb, name, run, temporary)
                os.replace(run_folder, destination / run_folder.name)
    except wandb.Error as error:
        raise SweepError(f"--to wandb: {folder}: {' '.join(str(error).split())}") from None
    finally:
        wandb.teardown()
    return Exported(written=len(new), there=len(runs) - len(new), see=f"wandb sync {destination}/offline-run-*")


@contextmanager
def _unseen_arguments() -> Iterator[None]:
    # wandb stores the command line in every run, and the URL of a storage may contain a password.
    typed = sys.argv
    sys.argv = typed[:1]
    try:
        yield
    finally:
        sys.argv = typed


def run_id(run: Run) -> str:
    # Determined by sweep and task, so that nothing is uploaded twice.
    parts = (run.tags["sweep"], run.tags["fingerprint"], run.key)
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _write_wandb_run(wandb: Any, name: str, run: Run, parent: str) -> Path:
    settings = wandb.Settings(
        mode="offline",
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,  # it would describe the exporting machine
        x_disable_stats=True,
    )
    opened = wandb.init(
        project=name,
        dir=parent,
        id=run_id(run),
        name=run.key,
        group=run.stage,
        tags=[f"{key}:{value}"[:_LONGEST_TAG] for key, value in run.tags.items()],
        config={**run.parameters, **run.tags, "started_at": run.started_at, "finished_at": run.finished_at},
        settings=settings,
        reinit="create_new",
    )
    folder = Path(opened.dir).parent
    for step, value in enumerate(run.epochs, start=1):
        if value is not None:
            opened.log({run.steps: value}, step=step)
    opened.summary.update(dict(run.metrics))
    opened.finish()
    return folder


def export_runs(engine: sqlalchemy.Engine, sweep: SweepRecord, tracker: str, folder: Path) -> Exported:
    """Write every finished training of a sweep as a run. Only reads the database; runs in the folder stay.

    Raises NoResultsYet before one has finished, MissingExtra where the library is missing, SweepError where the folder
    cannot be written.
    """
    check_tracker(tracker)
    write: Tracker = load("trackers", tracker)
    finished = runs(read(engine, sweep))
    if tracker in TRACKERS:
        require(TRACKERS[tracker].extra, f"--to {tracker}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            f"--output: cannot write into {folder}: {error.strerror}; give a folder, for example: -o runs"
        ) from None
    try:
        return write(sweep, finished, folder)
    except OSError as error:
        raise SweepError(f"--to {tracker}: cannot write into {folder}: {error.strerror}") from error

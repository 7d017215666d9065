"""Define the jobs of a distillation that run in child processes."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd.baselines import methods
from kd.config import BaselineResult, TeacherResult, TrainingConfig
from kd.data.datasets import Contents, Dataset, contents
from kd.losses.loss import Loss
from kd.teachers.names import parse_teacher
from kd.tools.processes import Report, silence

if TYPE_CHECKING:
    from kd.models.measure import ModelFile, Scores


def check_users_models(report: Report, models: Sequence[tuple[str, tuple[int, int, int], int]]) -> None:
    """Run `kd.models.custom.check_users` with each of these arguments, silently, because `create` prints one line.

    Report the index of each model before building it.
    """
    silence()
    from kd.models.custom import check_users

    for place, model in enumerate(models):
        report(place)
        check_users(*model)


def read_users_data(report: Report, name: str, size: tuple[int, ...]) -> Contents:
    silence()
    return contents(name, size=size)


def check_users_loss(report: Report, name: str, classes: int) -> Loss:
    """Return the description of a user's loss after a trial, without its term, which stays in the child process."""
    silence()
    from kd.losses.trial import check_users_loss

    return replace(check_users_loss(name, classes), term=_absent_term)


def _absent_term(*_: object, **__: object) -> Any:
    raise RuntimeError("the term of a user's loss stays in the child process that tried it")


def teach(
    report: Report,
    dataset: Dataset,
    model: str,
    training: TrainingConfig,
    seed: int,
    views: int,
    budget: methods.Budget,
    folder: str,
) -> tuple[TeacherResult, str]:
    """Train a teacher, or fit one by a comparison method; return it with the numerics fingerprint of this process."""
    from kd.teachers.train import teach_with, train_teacher
    from kd.training.student import fingerprint

    method = parse_teacher(model).method
    if method is not None:
        work_dir = Path(folder)
        result = teach_with(
            method, dataset, budget=budget, seed=seed, work_dir=work_dir, on_progress=report, views=views
        )
        return result, fingerprint()
    done, text = 0.0, "epoch 1"

    def on_epoch(epoch: int, score: float) -> None:
        nonlocal done, text
        done, text = (epoch + 1) / training.epochs, f"validation {score:.4f}"

    def on_step() -> None:
        report(done, text)

    result = train_teacher(
        dataset, model=model, training=training, seed=seed, on_epoch=on_epoch, on_step=on_step, views=views
    )
    return result, fingerprint()


def fit_baseline(
    report: Report, method: str, dataset: Dataset, budget: methods.Budget, seed: int, folder: str
) -> BaselineResult:
    return methods.fit(method, dataset, budget=budget, seed=seed, work_dir=Path(folder), on_progress=report)


def measure_models(report: Report, files: dict[str, "ModelFile"], scores: dict[str, "Scores"]) -> dict[str, Any]:
    """Measure all models in turns in one process. scores: of models that were scored before."""
    from kd.models.measure import measure

    return {key: asdict(measurement) for key, measurement in measure(files, scores=scores, on_step=report).items()}

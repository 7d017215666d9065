"""The functions that run in child processes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kd.baselines import methods
from kd.config import BaselineResult, TeacherResult, TrainingConfig
from kd.data.datasets import Contents, Dataset, Split, contents
from kd.losses.loss import Loss
from kd.teachers.names import parse_teacher
from kd.tools.processes import Report, silence

if TYPE_CHECKING:
    from kd.models.measure import Scores


def check_users_models(report: Report, models: Sequence[tuple[str, tuple[int, int, int], int]]) -> None:
    """Run `kd.models.custom.check_users` with each of these arguments, silently: `create` prints one line.

    Reports the place of each model before it is built.
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
    silence()
    from kd.losses.trial import check_users_loss

    return check_users_loss(name, classes)


def teach(
    report: Report,
    dataset: Dataset,
    model: str,
    training: TrainingConfig,
    seed: int,
    views: int,
    limits: dict[str, Any],
    folder: str,
) -> tuple[TeacherResult, str]:
    """Train a teacher, or fit one by a comparison method; return it with the numerics fingerprint of this process."""
    from kd.teachers.train import teach_with, train_teacher
    from kd.training.student import fingerprint

    method = parse_teacher(model).method
    if method is not None:
        budget, work_dir = _budget(method, limits), Path(folder)
        made = teach_with(method, dataset, budget=budget, seed=seed, work_dir=work_dir, on_progress=report, views=views)
        return made, fingerprint()
    done, text = 0.0, "epoch 1"

    def on_epoch(epoch: int, score: float) -> None:
        nonlocal done, text
        done, text = (epoch + 1) / training.epochs, f"validation {score:.4f}"

    def on_step() -> None:
        report(done, text)

    made = train_teacher(
        dataset, model=model, training=training, seed=seed, on_epoch=on_epoch, on_step=on_step, views=views
    )
    return made, fingerprint()


def fit_baseline(
    report: Report, method: str, dataset: Dataset, limits: dict[str, Any], seed: int, folder: str
) -> BaselineResult:
    return methods.fit(
        method, dataset, budget=_budget(method, limits), seed=seed, work_dir=Path(folder), on_progress=report
    )


def _budget(method: str, limits: dict[str, Any]) -> methods.Budget:
    return methods.Budget(
        trials=limits["autokeras_trials"],
        epochs=limits["autokeras_epochs"],
        seconds=limits["autokeras_seconds" if method == "autokeras" else "seconds"],
        max_parameters=limits["autokeras_parameters"],
        blocks=tuple(limits["autokeras_blocks"]),
    )


def measure_models(
    report: Report,
    files: dict[str, tuple[bytes, str, str]],
    tests: dict[str, Split],
    calibrations: dict[str, npt.NDArray[np.uint8]],
    scores: dict[str, "Scores"],
) -> dict[str, Any]:
    """Measure all models by turns in one process.

    files: (bytes of a .keras file, role of its dataset, the user's function that built it or ""), by name. tests: what
    a model is timed and scored on; calibrations: images (n, h, w, c) for its int8 conversion; both by role. scores: of
    the models that were scored before.
    """
    from kd.models.measure import ModelFile, measure

    models = {
        key: ModelFile(model=data, test=tests[role], calibration=calibrations[role], builder=builder)
        for key, (data, role, builder) in files.items()
    }
    return {key: asdict(measurement) for key, measurement in measure(models, scores=scores, on_step=report).items()}

"""What runs in a child process: each function is the whole of one child. TensorFlow is imported there only."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from kd.config import BaselineResult, TeacherResult, TrainingConfig
from kd.datasets import Dataset, Split
from sweeps.children import Report


def teach(
    report: Report, dataset: Dataset, model: str, training: TrainingConfig, seed: int, views: int
) -> TeacherResult:
    """A trained teacher and its logits."""
    from kd.teachers import train_teacher

    def on_epoch(epoch: int, score: float) -> None:
        report((epoch + 1) / training.epochs, f"validation {score:.4f}")

    return train_teacher(dataset, model=model, training=training, seed=seed, on_epoch=on_epoch, views=views)


def fit_baseline(
    report: Report, method: str, dataset: Dataset, limits: dict[str, Any], seed: int, folder: str
) -> BaselineResult:
    """A comparison method's model, within the limits of the spec's table `baselines`."""
    from kd import baselines

    budget = baselines.Budget(
        trials=limits["autokeras_trials"],
        epochs=limits["autokeras_epochs"],
        seconds=limits["autokeras_seconds"],
    )
    return baselines.fit(method, dataset, budget=budget, seed=seed, work_dir=Path(folder), on_progress=report)


def measure_models(report: Report, files: dict[str, tuple[bytes, str]], tests: dict[str, Split]) -> dict[str, Any]:
    """Every model measured beside the others; `files` holds (bytes of a .keras file, role of its dataset)."""
    from kd.measure import ModelFile, measure

    models = {key: ModelFile(model=data, test=tests[role]) for key, (data, role) in files.items()}
    return {key: asdict(found) for key, found in measure(models).items()}

"""Distill knowledge with Keras, from a dataset's bytes to a trained and measured student.

`import kd` imports neither Keras nor TensorFlow: each public name is imported at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd.config import BaselineResult, DistillConfig, TeacherResult, TrainingConfig, TrainResult
    from kd.data.datasets import Dataset, Split, content_hash, load, load_test
    from kd.data.sources import fetch, where
    from kd.errors import DataError, Diverged, KdError, ModelError, Unavailable
    from kd.models.named import build
    from kd.teachers.train import train_teacher
    from kd.training.distiller import Distiller
    from kd.training.student import StudentTrainer

__all__ = [
    "BaselineResult",
    "DataError",
    "Dataset",
    "DistillConfig",
    "Distiller",
    "Diverged",
    "KdError",
    "ModelError",
    "Split",
    "StudentTrainer",
    "TeacherResult",
    "TrainResult",
    "TrainingConfig",
    "Unavailable",
    "build",
    "content_hash",
    "fetch",
    "load",
    "load_test",
    "train_teacher",
    "where",
]

_HOMES = {
    "kd.config": ("BaselineResult", "DistillConfig", "TeacherResult", "TrainResult", "TrainingConfig"),
    "kd.data.datasets": ("Dataset", "Split", "content_hash", "load", "load_test"),
    "kd.training.distiller": ("Distiller",),
    "kd.errors": ("DataError", "Diverged", "KdError", "ModelError", "Unavailable"),
    "kd.models.named": ("build",),
    "kd.data.sources": ("fetch", "where"),
    "kd.teachers.train": ("train_teacher",),
    "kd.training.student": ("StudentTrainer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kd' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

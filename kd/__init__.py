"""kd: knowledge distillation with Keras, from a dataset's bytes to a trained and measured student.

`import kd` imports neither Keras nor TensorFlow; each public name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd.config import BaselineResult, DistillConfig, TeacherResult, TrainingConfig, TrainResult
    from kd.datasets import Dataset, Split, content_hash, load, load_test
    from kd.distiller import Distiller
    from kd.errors import DataError, Diverged, KdError, ModelError, Unavailable
    from kd.models import build
    from kd.sources import fetch, where
    from kd.teachers import train_teacher
    from kd.training import StudentTrainer

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
    "kd.datasets": ("Dataset", "Split", "content_hash", "load", "load_test"),
    "kd.distiller": ("Distiller",),
    "kd.errors": ("DataError", "Diverged", "KdError", "ModelError", "Unavailable"),
    "kd.models": ("build",),
    "kd.sources": ("fetch", "where"),
    "kd.teachers": ("train_teacher",),
    "kd.training": ("StudentTrainer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kd' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The type of the fixture kd_sweeps, the files in a folder, and a small dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

KdSweeps: TypeAlias = Callable[..., tuple[int, str, str]]  # words to exit code, stdout and stderr


def files(folder: Path) -> set[str]:
    """Return every file in the folder, by relative path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def write_npz(path: Path, **changes: object) -> Path:
    """Write a dataset of 200 and 50 black images of ten classes; an array given as None is left out."""
    arrays: dict[str, object] = {
        "x_train": np.zeros((200, 28, 28), np.uint8),
        "y_train": np.arange(200) % 10,
        "x_test": np.zeros((50, 28, 28), np.uint8),
        "y_test": np.arange(50) % 10,
    }
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    return path

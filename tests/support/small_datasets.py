"""Datasets for tests of baselines."""

from pathlib import Path

import numpy as np
import pytest

from kd.data.datasets import Dataset, Split


def cifar(shared_data: Path, *, train: int, validation: int) -> Dataset:
    """The first images of CIFAR-10; skips where its subset is not."""
    path = shared_data / "cifar10-12k.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as arrays:
        return Dataset(
            name="cifar10-12k",
            train=Split(arrays["x_train"][:train], arrays["y_train"][:train].ravel().astype(np.int64)),
            validation=Split(arrays["x_test"][:validation], arrays["y_test"][:validation].ravel().astype(np.int64)),
            classes=10,
            content_hash="",
            split_hash="",
            origin="test",
        )

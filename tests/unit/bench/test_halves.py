"""bench/support/halves.py: the two halves of CIFAR-10 that the transfer study uses."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

from support import halves


def test_the_halves_of_cifar10_share_no_class_and_each_image_keeps_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.tile(np.arange(10, dtype=np.int64), 3)
    images = np.broadcast_to(labels[:, None, None, None], (30, 2, 2, 3)).astype(np.uint8)
    arrays = SimpleNamespace(x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    monkeypatch.setattr(halves, "obtain", lambda name: SimpleNamespace(arrays=arrays))
    for half, classes in ((halves.animals(), [2, 3, 4, 5, 6, 7]), (halves.vehicles(), [0, 1, 8, 9])):
        for split, times in (("train", 3), ("test", 1)):
            assert half[f"y_{split}"].tolist() == list(range(len(classes))) * times
            assert half[f"x_{split}"][:, 0, 0, 0].tolist() == classes * times

"""Known datasets: what counts as one, and how the difference is described."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kd.data import cache as cache_module
from kd.data.arrays import Arrays
from kd.data.cache import cache_dir, locked
from kd.data.known import KnownDataset

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
ARRAYS = Arrays(
    x_train=IMAGES[:4], y_train=np.array([0, 1, 0, 1]), x_test=IMAGES[4:], y_test=np.array([1, 0]), classes=2
)
SHAPES = {"x_train": (4, 8, 8), "y_train": (4,), "x_test": (2, 8, 8), "y_test": (2,)}
KNOWN = KnownDataset(shapes=SHAPES, hashes=ARRAYS.hashes)


def test_arrays_with_the_known_hashes_are_the_dataset() -> None:
    assert KNOWN.difference(ARRAYS) is None
    assert KNOWN.image_shape == (8, 8, 1)
    assert KNOWN.content_hash == ARRAYS.content_hash  # known without reading anything


def test_a_difference_names_the_array() -> None:
    fewer = dataclasses.replace(ARRAYS, x_train=IMAGES[:3], y_train=np.array([0, 1, 0]))
    assert KNOWN.difference(fewer) == "x_train has shape (3, 8, 8, 1), not (4, 8, 8, 1)"
    other = dataclasses.replace(ARRAYS, y_test=np.array([0, 1]))
    assert str(KNOWN.difference(other)).startswith("y_test has sha256 ")


def test_arrays_without_a_known_hash_are_recognised_by_their_classes_and_statistics() -> None:
    images = np.zeros((4, 8, 8, 1), np.uint8)
    images[:, ::2] = 255  # half of the pixels: mean 0.5, sd 0.5
    other = Arrays(
        x_train=images, y_train=np.array([0, 1, 0, 1]), x_test=images, y_test=np.array([0, 1, 0, 1]), classes=2
    )
    shapes = {key: (4, 8, 8) if key[0] == "x" else (4,) for key in SHAPES}
    known = KnownDataset(shapes=shapes, hashes={}, classes=2, statistics=((0.5,), (0.5,)))
    assert (known.content_hash, known.difference(other)) == ("", None)
    uneven = dataclasses.replace(other, y_test=np.array([0, 0, 0, 1]))
    assert known.difference(uneven) == "y_test has 1 to 3 images of 2 classes, not 2 of each"
    images = images.copy()
    images[0] = 0
    assert (
        known.difference(dataclasses.replace(other, x_train=images))
        == "x_train has a mean of 0.3750 by channel, not 0.5"
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)
    monkeypatch.setattr(cache_module, "KNOWN_DATASETS", {"small": KNOWN})
    return cache_dir()


def test_the_lock_removes_what_killed_writers_left_behind(cache: Path) -> None:
    (cache / ".small-left").mkdir(parents=True)
    (cache / ".other-left").mkdir()
    with locked("small"):
        assert not (cache / ".small-left").exists()
        assert (cache / ".other-left").exists()

"""Hashes of a dataset, from what a hash must and must not depend on; bad files are in test_datasets.py."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kd.data.arrays import checked, content_hash_of, read_npz
from kd.errors import DataError

Raw = dict[str, npt.NDArray[Any]]


def raw(shape: tuple[int, ...] = (8, 32)) -> Raw:
    images = np.random.default_rng(0).integers(0, 256, (30, 256), dtype=np.uint8)
    labels = np.arange(30) % 3
    return {
        "x_train": images[:20].reshape(20, *shape),
        "y_train": labels[:20],
        "x_test": images[20:].reshape(10, *shape),
        "y_test": labels[20:],
    }


def test_labels_and_images_come_out_in_one_form_whatever_the_file_holds() -> None:
    arrays = checked(raw() | {"y_train": (np.arange(20) % 3).astype(np.uint8).reshape(-1, 1)}, "made up")
    assert arrays.x_train.shape == (20, 8, 32, 1)
    assert arrays.x_train.flags.c_contiguous
    assert (arrays.y_train.dtype, arrays.y_train.shape, arrays.classes) == (np.int64, (20,), 3)


def test_the_hash_of_an_array_is_that_of_its_raw_bytes() -> None:
    arrays = checked(raw(), "made up")
    assert arrays.hashes["x_train"] == hashlib.sha256(raw()["x_train"].tobytes()).hexdigest()
    assert arrays.hashes["y_test"] == hashlib.sha256(raw()["y_test"].astype(np.uint8).tobytes()).hexdigest()


def test_the_content_hash_depends_on_shape_and_content_but_not_on_the_integer_type() -> None:
    same = checked(raw(), "made up").content_hash
    assert same == content_hash_of(checked(raw(), "made up").hashes, (8, 32, 1))
    assert checked(raw() | {"y_train": raw()["y_train"].astype(np.uint8)}, "made up").content_hash == same
    assert checked(raw((16, 16)), "made up").content_hash != same  # the same bytes
    swapped = raw()["x_train"].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert checked(raw() | {"x_train": swapped}, "made up").content_hash != same


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "own.npz", **raw())  # type: ignore[arg-type]
    assert read_npz(tmp_path / "own.npz").content_hash == checked(raw(), "made up").content_hash
    with pytest.raises(DataError, match=r"is a folder, not a file; give the path of an \.npz file"):
        read_npz(tmp_path)

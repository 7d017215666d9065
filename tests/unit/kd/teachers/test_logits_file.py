"""A teacher as a file of logits: which files are read, which are refused, and that rows match their images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd.data.datasets import Dataset, load
from kd.errors import DataError
from kd.teachers.logits_file import aligned, digest, read, teach, write

IMAGES = 300


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_images=IMAGES)


def published(dataset: Dataset, *, wrong: float = 0.0) -> np.ndarray:
    """Return logits of all published images; those of the training images predict their label, except for a share."""
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(dataset.published, dataset.classes)).astype(np.float32)
    right = draw.random(len(dataset.train_indices)) >= wrong
    logits[dataset.train_indices[right], dataset.train.labels[right]] += 9
    return logits


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_rows_in_the_published_order_are_matched_with_their_images(tmp_path: Path, digits: Dataset) -> None:
    logits = published(digits)
    file = read(saved(tmp_path / "l.npz", train_logits=logits.astype(np.float64), provenance=np.array("from\n torch")))
    rows = aligned(file, digits)
    assert (rows.dtype, rows.shape) == (np.float32, (IMAGES, 10))
    np.testing.assert_array_equal(rows, logits[digits.train_indices])
    assert file.provenance == "from torch"
    taught = teach(file.path, digits)
    assert taught.result.val_accuracy == np.mean(rows.argmax(axis=1) == digits.train.labels)
    assert taught.model == b""
    assert digest(taught.logits) == digest(rows)


def test_rows_of_some_images_are_matched_by_their_indices(tmp_path: Path, digits: Dataset) -> None:
    logits = published(digits)
    order = np.random.default_rng(1).permutation(digits.train_indices)
    path = tmp_path / "l.npz"
    write(path, logits[order], order, dataset="digits", provenance="here", val_accuracy=0.9)
    file = read(path)
    assert (file.dataset, file.provenance, file.val_accuracy) == ("digits", "here", 0.9)
    np.testing.assert_array_equal(aligned(file, digits), logits[digits.train_indices])
    assert teach(path, digits).result.val_accuracy == 0.9
    assert [entry.name for entry in tmp_path.iterdir()] == ["l.npz"]


Change = Callable[[np.ndarray, np.ndarray], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits, _: {"logits": logits}, "has the arrays logits; it needs train_logits"),
        (lambda logits, _: {"train_logits": logits[:-1]}, "1437 rows, digits has 1438 published training images"),
        (lambda logits, _: {"train_logits": logits[:, :9]}, "9 classes, but digits has 10"),
        (lambda logits, _: {"train_logits": logits.round().astype(int)}, "must be floats of shape"),
        (lambda logits, _: {"train_logits": logits[..., None]}, "must be floats of shape"),
        (lambda logits, _: {"train_logits": np.where(logits > 8, np.nan, logits)}, "values that are not finite"),
        (lambda logits, _: {"train_logits": np.roll(logits, 1, axis=0)}, "in another order, or of other images"),
        (
            lambda logits, indices: {"train_logits": logits[indices[:9]], "train_indices": indices[:9]},
            "lacks 291 of the 300 training images of digits",
        ),
        (
            lambda logits, _: {"train_logits": logits, "train_indices": np.arange(3)},
            r"train_indices must be 1438 whole numbers, got int64 \(3,\)",
        ),
        (
            lambda logits, _: {"train_logits": logits.astype(np.float64) * 1e300},
            "holds 14380 values that are not finite as float32",
        ),
        *(
            (
                lambda logits, _, value=value: {"train_logits": logits, "val_accuracy": np.array(value)},
                rf"val_accuracy must be one number from 0 to 1, got {value_text}",
            )
            for value, value_text in (
                ("high", "'high'"),
                ([0.5, 0.6], r"float64 \(2,\)"),
                (0.5 + 1j, r"\(0\.5\+1j\)"),
                (True, "True"),
                (7.5, "7.5"),
                (-1, "-1"),
                (np.nan, "nan"),
                (np.inf, "inf"),
            )
        ),
    ],
)
def test_a_file_that_does_not_fit_gives_a_one_line_error(
    tmp_path: Path, digits: Dataset, change: Change, message: str
) -> None:
    path = saved(tmp_path / "l.npz", **change(published(digits), digits.train_indices))
    with pytest.raises(DataError, match=message) as error:
        aligned(read(path), digits)
    assert "\n" not in str(error.value)


def test_a_bad_logits_file_gives_a_one_line_error(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("nothing")
    with pytest.raises(DataError, match=r"is not an \.npz file of arrays"):
        read(text)
    with pytest.raises(DataError, match=r"cannot read the logits .*: it does not exist; give"):
        read(tmp_path / "missing.npz")
    objects = saved(tmp_path / "objects.npz", train_logits=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"is not an \.npz file of arrays"):
        read(objects)


def test_a_weak_teacher_is_accepted(tmp_path: Path, digits: Dataset) -> None:
    weak = read(saved(tmp_path / "weak.npz", train_logits=published(digits, wrong=0.7)))
    assert aligned(weak, digits).shape == (IMAGES, 10)


def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.npz"
    target.write_bytes(b"an earlier file")

    def full(file: Path, **arrays: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    logits, indices = np.zeros((3, 10), np.float32), np.arange(3)
    with pytest.raises(OSError, match="No space left"):
        write(target, logits, indices, dataset="digits", provenance="a test", val_accuracy=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    assert target.read_bytes() == b"an earlier file"

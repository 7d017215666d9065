"""Bring the arrays that a user has into the one form that is trained on, and say what was changed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, checked
from kd.data.splits import held_out
from kd.errors import DataError

__all__ = ["NEEDED", "taken"]

Raw = Mapping[str, npt.NDArray[Any]]

NEEDED = ("x_train", "y_train")


def taken(raw: Raw, what: str, class_names: tuple[str, ...] = ()) -> tuple[Arrays, tuple[str, ...]]:
    """Return arrays as a checked dataset, and one note for each thing that is not as it was given.

    Args:
        raw: x_train and perhaps x_test: (n, h, w), (n, h, w, 1) or (n, h, w, 3); uint8, other integers in 0..255, or
            floats that are all in [0, 1] or all whole and in 0..255. y_train and perhaps y_test: (n,) or (n, 1) of
            whole numbers, or one-hot (n, classes). Without a test part, a sixth of the images becomes it.
        what: name of the dataset in messages.
        class_names: of class 0, 1, ...; empty where nobody named them.

    Raises:
        DataError: one line with the array, what it is, and what is allowed.
    """
    if ("x_test" in raw) != ("y_test" in raw):
        there, lacks = ("x_test", "y_test") if "x_test" in raw else ("y_test", "x_test")
        raise DataError(f"{what} has {there} and no {lacks}; give both, or neither to have a sixth set aside")
    keys = KEYS if "x_test" in raw else NEEDED
    images, notes = _pixels({key: raw[key] for key in keys if key[0] == "x"}, what)
    labels = {key: _labels(raw[key], f"{what}: {key}") for key in keys if key[0] == "y"}
    if "x_test" not in raw:
        x, y = images["x_train"], labels["y_train"]
        # Before a sixth is set aside, so that what is wrong is told of the arrays as they were given.
        whole = checked({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, what, class_names)
        train, test = held_out(x, y.reshape(-1))
        _check_kept(whole, train, what)
        images, labels = {"x_train": x[train], "x_test": x[test]}, {"y_train": y[train], "y_test": y[test]}
        notes = (*notes, f"it has no test images: {len(test):,} of {len(x):,} were set aside as those, always the same")
    return checked({**images, **labels}, what, class_names), notes


def _check_kept(whole: Arrays, train: npt.NDArray[np.int64], what: str) -> None:
    """Check that each class still has a training image once a sixth is set aside."""
    if len(np.unique(whole.y_train[train])) == whole.classes:
        return
    counts = np.bincount(whole.y_train)  # one class has 1 image: with 2 of each, each keeps one
    label, few = int(counts.argmin()), int((counts == 1).sum())
    name = f" ({whole.class_names[label]})" if whole.class_names else ""
    others = f", as {few - 1} of the others have" if few > 1 else ""
    raise DataError(
        f"{what}: class {label}{name} has 1 image{others}, too few to set aside a sixth of all as a test part; give 2"
        " or more of each class, or a test part"
    )


def _pixels(images: Raw, what: str) -> tuple[dict[str, npt.NDArray[np.uint8]], tuple[str, ...]]:
    kinds = {array.dtype for array in images.values()}
    if len(kinds) > 1:
        said = " and ".join(f"{key} is {array.dtype}" for key, array in images.items())
        raise DataError(f"{what}: {said}; give both the same type, best uint8, 0..255")
    (kind,) = kinds
    if kind == np.uint8:
        return dict(images), ()
    if kind.kind not in "iuf":
        raise DataError(f"{what}: x_train is {kind}; images must be uint8, 0..255, or floats in [0, 1]")
    for key, array in images.items():
        if kind.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{what}: {key} has NaN or infinite pixels; images must be uint8, 0..255, or in [0, 1]")
    arrays = [array for array in images.values() if array.size]
    if kind.kind == "f" and all(array.min() >= 0 and array.max() <= 1 for array in arrays):
        scaled = {key: np.rint(255 * array).astype(np.uint8) for key, array in images.items()}
        return scaled, (f"{' and '.join(images)}: {kind} in [0, 1], taken as round(255 x)",)
    for key, array in images.items():
        if not array.size:
            continue
        low, high = array.min(), array.max()
        if low < 0 or high > 255 or (kind.kind == "f" and (array != np.rint(array)).any()):
            raise DataError(
                f"{what}: {key} is {kind} from {low:g} to {high:g}; images must be whole numbers 0..255, or floats in"
                " [0, 1]"
            )
    return {key: array.astype(np.uint8) for key, array in images.items()}, ()


def _labels(labels: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    """Return labels as integers; those that are none are returned as they are, for `checked` to refuse."""
    if labels.dtype.kind not in "iufb":
        raise DataError(f"{what} is {labels.dtype}; labels must be whole numbers 0..classes-1")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise DataError(f"{what} has NaN or infinite labels; labels must be whole numbers 0..classes-1")
        if (wrong := labels[labels != np.rint(labels)]).size:
            raise DataError(
                f"{what} has label {wrong.flat[0]:g}; labels must be whole numbers 0..classes-1, or one-hot"
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "b" and labels.ndim != 2:
        raise DataError(f"{what} is bool; labels must be integers 0..classes-1, or one-hot")
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DataError(f"{what} has shape {labels.shape} and is not one-hot; each row must hold one 1, else 0")
        labels = np.argmax(labels, axis=1)
    return labels

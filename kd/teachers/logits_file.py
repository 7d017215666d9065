"""Read and write teacher logits as a file; compute their spread and the controls that replace them.

The file is an .npz file with these arrays:

- `train_logits`: float, shape (n, classes), finite as float32: the teacher's logits of the training images, in the
  order of the published training part of the dataset.
- `train_indices` (optional): whole numbers, shape (n,): the images of the rows; without it, all of the part.
- `test_logits` (optional): the same for the published test images; kept with the file, not read.
- `dataset`, `provenance` (optional): text: the name of the dataset, and the origin of the logits.
- `val_accuracy` (optional): a fraction in [0, 1]: the teacher's accuracy on validation images.

A student may gain from a teacher because soft targets regularize (`uniform`), because the logits show which classes
resemble each other (`class_mean`), or because they carry information about the single image, which
`shuffled_within_class` removes while it keeps everything else.

These controls return float32 logits of the shape of their input: (images, classes), or (views, images, classes) for
several augmented versions of each image; another number of labels is a ValueError.

Source: Yuan et al. 2020, arXiv:1909.11723 (label smoothing), and Tang et al. 2020, arXiv:2002.03532 (class relations).
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.config import TeacherResult, TrainResult
from kd.data.arrays import UNREADABLE, check_size, not_a_file, save_npz
from kd.data.datasets import Dataset
from kd.errors import DataError

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

PREFIX = "logits:"

# The least agreement with the labels, from chance (0) to certainty (1): rows of other images agree by chance only.
WELL_ABOVE = 0.15


@dataclass(frozen=True, eq=False)
class LogitsFile:
    """The content of a file. logits: float32, shape (n, classes). indices: int64, shape (n,); None: all images."""

    path: Path
    logits: Logits
    indices: npt.NDArray[np.int64] | None
    dataset: str
    provenance: str
    val_accuracy: float | None


def read(path: Path) -> LogitsFile:
    if (what := not_a_file(path)) is not None:
        raise DataError(f"cannot read the logits {path}: it {what}; give the path of an .npz file")
    try:
        if zipfile.is_zipfile(path):
            check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"cannot read the logits {path}: {error.strerror or error}") from None
    except UNREADABLE as error:
        raise DataError(f"{path} is not an .npz file of arrays: {error}") from None
    logits, indices = arrays.get("train_logits"), arrays.get("train_indices")
    if logits is None:
        raise DataError(f"{path} has the arrays {', '.join(arrays) or 'none'}; it needs train_logits")
    if logits.ndim != 2 or not np.issubdtype(logits.dtype, np.floating):
        raise DataError(
            f"{path}: train_logits must be floats of shape (images, classes), got {logits.dtype} {logits.shape}"
        )
    with np.errstate(over="ignore"):
        logits = logits.astype(np.float32)  # larger values become infinite, and are refused
    if not np.isfinite(logits).all():
        raise DataError(
            f"{path}: train_logits holds {int((~np.isfinite(logits)).sum())} values that are not finite as float32"
        )
    if indices is not None and (indices.shape != logits.shape[:1] or not np.issubdtype(indices.dtype, np.integer)):
        raise DataError(
            f"{path}: train_indices must be {len(logits)} whole numbers, got {indices.dtype} {indices.shape}"
        )
    return LogitsFile(
        path=path,
        logits=logits,
        indices=None if indices is None else indices.astype(np.int64),
        dataset=str(arrays.get("dataset", "")),
        provenance=" ".join(str(arrays.get("provenance", "")).split()),
        val_accuracy=_accuracy(path, arrays.get("val_accuracy")),
    )


def _accuracy(path: Path, value: npt.NDArray[Any] | None) -> float | None:
    if value is None:
        return None
    if value.shape != () or value.dtype.kind not in "fiu" or not 0 <= value <= 1:
        text = f"{value.dtype} {value.shape}" if value.shape else repr(value.item())
        raise DataError(f"{path}: val_accuracy must be one number from 0 to 1, got {text[:80]}")
    return float(value)


def aligned(file: LogitsFile, dataset: Dataset) -> Logits:
    """Return the logits of the training images of `dataset`, in its order; float32, shape (images, classes).

    Raises:
        DataError: other classes or images than the dataset's, or rows of other images: the class with the largest
            logit agrees with the label about as often as by chance.
    """
    rows = np.arange(dataset.published) if file.indices is None else file.indices
    if len(file.logits) != len(rows):
        raise DataError(
            f"{file.path}: train_logits has {len(file.logits)} rows, {dataset.name} has {dataset.published} published"
            " training images; give all rows, or name their images in train_indices"
        )
    if file.logits.shape[1] != dataset.classes:
        raise DataError(f"{file.path}: {file.logits.shape[1]} classes, but {dataset.name} has {dataset.classes}")
    row_of = np.full(dataset.published, -1)
    inside = (rows >= 0) & (rows < dataset.published)
    row_of[rows[inside]] = np.flatnonzero(inside)
    wanted = row_of[dataset.train_indices]
    if (wanted < 0).any():
        raise DataError(
            f"{file.path} lacks {int((wanted < 0).sum())} of the {len(wanted)} training images of {dataset.name}; train"
            " on fewer images, or write the logits of more"
        )
    logits = np.ascontiguousarray(file.logits[wanted])
    agreement = float(np.mean(logits.argmax(axis=1) == dataset.train.labels))
    chance = 1 / dataset.classes
    if agreement < chance + WELL_ABOVE * (1 - chance):
        raise DataError(
            f"{file.path}: the largest logit is the label's for {100 * agreement:.1f} % of the training images of"
            f" {dataset.name}, by chance for {100 * chance:.1f} %: the rows are in another order, or of other images"
        )
    return logits


def digest(logits: Logits) -> str:
    """Return the SHA-256 of aligned logits: the name under which a sweep stores them."""
    return hashlib.sha256(logits.tobytes()).hexdigest()


def teach(path: Path, dataset: Dataset) -> TeacherResult:
    """Return the teacher in a file, without a model.

    Its accuracy is the file's `val_accuracy`, else the agreement with the labels of the training images.
    """
    file = read(path)
    logits = aligned(file, dataset)
    agreement = float(np.mean(logits.argmax(axis=1) == dataset.train.labels))
    accuracy = agreement if file.val_accuracy is None else file.val_accuracy
    result = TrainResult(val_accuracy=accuracy, epoch_val_accuracy=(accuracy,), parameters=0, train_s=0.0, cpu_s=0.0)
    return TeacherResult(result=result, logits=logits, model=b"", provenance={"logits": file.provenance or path.name})


def write(
    path: Path, logits: Logits, indices: npt.NDArray[np.int64], *, dataset: str, provenance: str, val_accuracy: float
) -> None:
    """Write a file of logits, whole or not at all; indices: as `kd.data.datasets.Dataset.train_indices`."""
    save_npz(
        path,
        train_logits=logits,
        train_indices=indices,
        dataset=np.array(dataset),
        provenance=np.array(provenance),
        val_accuracy=np.array(val_accuracy),
    )


def logit_spread(logits: Logits) -> float:
    """Return the standard deviation of the logits over the classes, averaged over all images and views.

    Logits c times as large, distilled at c times the temperature, give the same soft targets.
    """
    return float(np.std(logits, axis=-1, dtype=np.float64).mean())


LABEL_SMOOTHING = 0.1  # Szegedy et al. 2015, arXiv:1512.00567, section 7


def class_mean(logits: Logits, labels: Labels) -> Logits:
    """Replace the logits of each image by the mean logits of its class, the same for all views."""
    _check(logits, labels)
    means = np.empty_like(logits)
    every_axis_but_classes = tuple(range(logits.ndim - 1))
    for label in np.unique(labels):
        members = labels == label
        means[..., members, :] = logits[..., members, :].mean(axis=every_axis_but_classes, dtype=np.float64)
    return means


def shuffled_within_class(logits: Logits, labels: Labels, seed: int) -> Logits:
    """Permute the logits among the images of each class: the values and their class means stay the same.

    The permutation is random: on average, one image of each class keeps its own logits. With views, an image gets the
    logits of all views of one other image.
    """
    _check(logits, labels)
    rng = np.random.default_rng(seed)
    source = np.arange(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        source[members] = rng.permutation(members)
    return logits[..., source, :]


def uniform(logits: Logits) -> Logits:
    """Replace the logits by zeros: a teacher for which all classes are equally likely, which is label smoothing.

    With T = 1 and alpha = 1 - LABEL_SMOOTHING the distillation loss is, up to a constant, cross entropy with labels
    smoothed by LABEL_SMOOTHING, with the same gradient.
    """
    return np.zeros_like(logits)


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim not in (2, 3) or labels.shape != logits.shape[-2:-1]:
        raise ValueError(
            f"logits must be (images, classes) or (views, images, classes) and labels (images,), got"
            f" {logits.shape} and {labels.shape}"
        )

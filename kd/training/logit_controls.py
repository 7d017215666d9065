"""Replace a teacher's logits by controls, to find out which part of their information helps a student.

A student may gain from a teacher because soft targets regularize (`uniform`), because the logits show which classes
resemble each other (`class_mean`), or because they carry information about the single image, which
`shuffled_within_class` removes while it keeps everything else.

Every function returns float32 logits of the shape it was given: (images, classes), or (views, images, classes) if the
teacher's logits were computed for several augmented versions of each image.

Source: Yuan et al. 2020, arXiv:1909.11723 (label smoothing), and Tang et al. 2020, arXiv:2002.03532 (class relations).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LABEL_SMOOTHING = 0.1  # Szegedy et al. 2015, arXiv:1512.00567, section 7


def class_mean(logits: Logits, labels: Labels) -> Logits:
    """Replace the logits of each image by the mean logits of its class, the same for all views.

    Args:
        logits: float32, shape (images, classes) or (views, images, classes).
        labels: int64, shape (images,).

    Raises:
        ValueError: another number of labels than of images.
    """
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

    Args:
        logits: float32, shape (images, classes) or (views, images, classes).
        labels: int64, shape (images,).
        seed: of the permutation, >= 0.

    Raises:
        ValueError: another number of labels than of images.
    """
    _check(logits, labels)
    rng = np.random.default_rng(seed)
    source = np.arange(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        source[members] = rng.permutation(members)
    return logits[..., source, :]


def uniform(logits: Logits) -> Logits:
    """Replace the logits by zeros: a teacher to which all classes are equally likely, which is label smoothing.

    With T = 1 and alpha = 1 - LABEL_SMOOTHING the distillation loss is, up to a constant, cross entropy with labels
    smoothed by LABEL_SMOOTHING: it has the same gradient.

    Args:
        logits: float32, any shape.
    """
    return np.zeros_like(logits)


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim not in (2, 3) or labels.shape != logits.shape[-2:-1]:
        raise ValueError(
            f"logits must be (images, classes) or (views, images, classes) and labels (images,), got"
            f" {logits.shape} and {labels.shape}"
        )

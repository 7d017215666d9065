"""Count what a trained network gets wrong on the test images, and what a raised bias changes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

DIGIT = 3  # the "mythical digit" of Hinton et al. 2015, section 3
RAISED_BY = 3.5  # what they raise its bias by, tuned on the test images
BIASES: Sequence[float] = tuple(round(0.1 * i, 1) for i in range(151))  # 0 to 15, of which the best is looked for


def count_errors(logits: Logits, labels: Labels, digit: int | None = None) -> int:
    """Return the number of images whose largest logit is not that of their label.

    Args:
        logits: float, shape (images, classes).
        labels: int64, shape (images,).
        digit: count among the images with this label alone.

    Raises:
        ValueError: another number of labels than of images.
    """
    if len(logits) != len(labels):
        raise ValueError(f"{len(logits)} images have logits and {len(labels)} have labels; give the same images")
    wrong = logits.argmax(axis=-1) != labels
    return int(wrong.sum() if digit is None else wrong[labels == digit].sum())


def agreement(student: Logits, teacher: Logits) -> float:
    """Return the share of images of which both networks say the same class, a fraction in [0, 1].

    Source: Stanton et al. 2021, arXiv:2106.05945, section 3 ("top-1 agreement").
    """
    return float(np.mean(student.argmax(axis=-1) == teacher.argmax(axis=-1)))


def raise_bias(logits: Logits, digit: int, by: float) -> Logits:
    """Return the logits of the same network with the bias of one class raised: `by` more in its column.

    Raises:
        ValueError: there is no such class.
    """
    classes = logits.shape[-1]
    if not 0 <= digit < classes:
        raise ValueError(f"there is no class {digit} among {classes}; allowed: 0 to {classes - 1}")
    higher = logits.copy()
    higher[:, digit] += by
    return higher


def best_bias(logits: Logits, labels: Labels, digit: int) -> float:
    """Return by how much a class's bias must be raised for the fewest errors; of several, the smallest.

    Tuned on the images that it is scored on, as in Hinton et al. 2015 on the test images: what it gives is the best
    that a bias can do, not an estimate of what a bias tuned elsewhere would do.
    """
    return min(BIASES, key=lambda by: count_errors(raise_bias(logits, digit, by), labels))

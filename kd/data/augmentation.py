"""Augment images with a fixed number of random crops and flips, so that a teacher's logits of them can be cached.

For distillation, teacher and student must see the same augmented image (Beyer et al. 2021, arXiv:2106.05237). If every
epoch drew new crops, the teacher would have to run beside the student. Here each image has a fixed number of augmented
versions, called views: the teacher's logits of all views are computed once, and the epochs take turns with the views.

Source of the augmentation (pad, crop, flip): He et al. 2015, arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PADDING = 4  # px of zeros on each side
SEED = 151203385  # must never change: logits that are already stored belong to these crops and flips


def checked_views(views: int) -> int:
    """Return `views` if it is a valid number of augmented versions of an image.

    Raises:
        ValueError: not a whole number >= 1.
    """
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        raise ValueError(f"views must be a whole number >= 1 (1: the image itself alone), got {views!r}")
    return views


def view(images: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.uint8]:
    """Augment every image: pad it with zeros, crop it at random to its own size, mirror it with probability 1/2.

    View 0 is the unchanged images. The crop and flip of an image depend only on its index and the view's number, so the
    first n images of a larger dataset are augmented like a dataset of n. Mirroring suits photographs, not digits or
    letters.

    Args:
        images: uint8, shape (n, h, w, c).
        number: which view, >= 0.

    Returns:
        uint8, shape (n, h, w, c); for view 0 the array that was given.

    Raises:
        ValueError: number is negative.
    """
    if number == 0:
        return images
    count, height, width, _ = images.shape
    moves = np.random.default_rng((SEED, number)).integers(0, (2 * PADDING + 1, 2 * PADDING + 1, 2), (count, 3))
    padded = np.pad(images, [(0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)])
    out = np.empty_like(images)
    for target, source, (down, right, mirrored) in zip(out, padded, moves, strict=True):
        crop = source[down : down + height, right : right + width]
        target[:] = crop[:, ::-1] if mirrored else crop
    return out

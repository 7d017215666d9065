"""Views of an image: shifted and mirrored copies, always the same ones, so that a teacher's logits fit them.

A student that sees another crop in every epoch needs the teacher's word on that very crop. With a fixed number of views
that word is computed once, as without augmentation, and no teacher runs beside the student.

Source: the crop and flip of He et al. 2015, arXiv:1512.03385, section 4.2; Beyer et al. 2021, arXiv:2106.05237, why
teacher and student must see the same crop.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PADDING = 4  # px of zeros on each side
SEED = 151203385  # never to change: logits that are stored somewhere belong to these views


def checked_views(views: int) -> int:
    """`views`, if there can be so many.

    Raises:
        ValueError: not a whole number >= 1.
    """
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        raise ValueError(f"views must be a whole number >= 1 (1: the image itself alone), got {views!r}")
    return views


def view(images: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.uint8]:
    """One view of every image: padded with zeros, cropped at random to its own size, and mirrored with a chance of 1/2.

    View 0 is the images themselves. What happens to an image depends on its place and the number alone, so the first n
    of a larger dataset have the views of a dataset of n. Mirroring suits photographs, not digits or letters.

    Args:
        images: uint8, shape (n, h, w, c).
        number: of the view, >= 0.

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

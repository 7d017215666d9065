"""kd.training.batches: reproducible crops and mirrors."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from kd.training.batches import PADDING, checked_views, view

IMAGES = np.random.default_rng(0).integers(1, 256, (700, 10, 12, 3)).astype(np.uint8)  # no 0: zeros are padding


def naive(image: np.ndarray, down: int, right: int, *, mirrored: bool) -> np.ndarray:
    """One crop of one image, pixel by pixel."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            row, column = y + down - PADDING, x + right - PADDING
            if 0 <= row < height and 0 <= column < width:
                out[y, width - 1 - x if mirrored else x] = image[row, column]
    return out


def test_view_0_is_the_images_themselves() -> None:
    assert view(IMAGES, 0) is IMAGES


def test_every_image_of_a_view_is_one_of_its_162_crops() -> None:
    moves = [(down, right, mirrored) for down in range(9) for right in range(9) for mirrored in (False, True)]
    views: Counter[tuple[int, int, bool]] = Counter()
    images = IMAGES[:100, :5, :6]
    for image, crop in zip(images, view(images, 3), strict=True):
        (move,) = [
            (down, right, mirrored)
            for down, right, mirrored in moves
            if (naive(image, down, right, mirrored=mirrored) == crop).all()
        ]
        views[move] += 1
    assert len({down for down, _, _ in views}) == len({right for _, right, _ in views}) == 9
    mirrored = sum(count for (_, _, mirrored), count in views.items() if mirrored)
    assert 30 <= mirrored <= 70  # of 100, each with a chance of 1/2


def test_a_view_never_changes() -> None:
    """Stored logits belong to these exact pixels."""
    crops = view(IMAGES, 5)
    assert (crops.dtype, crops.shape) == (np.uint8, IMAGES.shape)
    assert (crops == view(IMAGES.copy(), 5)).all()
    assert hashlib.sha256(crops.tobytes()).hexdigest()[:16] == "ca741ed0733240d1"


def test_views_differ_and_do_not_change_the_images() -> None:
    before = IMAGES.copy()
    views = {view(IMAGES, number).tobytes() for number in range(8)}
    assert len(views) == 8
    assert (before == IMAGES).all()


def test_the_first_of_a_larger_dataset_have_the_views_of_a_smaller_one() -> None:
    assert (view(IMAGES, 2)[:123] == view(IMAGES[:123], 2)).all()


def test_grey_images_are_cropped_as_coloured_ones() -> None:
    assert (view(IMAGES[..., :1], 4) == view(IMAGES, 4)[..., :1]).all()


@pytest.mark.parametrize("views", [0, -3, True, 2.0, "8", None])
def test_impossible_views_are_refused(views: object) -> None:
    with pytest.raises(ValueError, match=r"^views must be a whole number >= 1 \(1: .*\), got " + repr(views)):
        checked_views(views)  # type: ignore[arg-type]


def test_there_is_no_view_before_the_first() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        view(IMAGES, -1)

"""Folders of image files, made with Pillow for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("daisy", "rose", "tulip")


def pixels(label: int, number: int, size: tuple[int, int], *, grey: bool = False) -> np.ndarray:  # type: ignore[type-arg]
    """Return noise in which the bright third of the columns shows the class; uint8 (h, w, 3) or (h, w)."""
    height, width = size
    image = np.random.default_rng((label, number)).integers(0, 100, (height, width, 3), dtype=np.uint8)
    third = max(1, width // 3)
    image[:, label * third : (label + 1) * third] = 200
    return image[..., 0] if grey else image


def write_folder(
    folder: Path,
    *,
    each: int = 24,
    sizes: Sequence[tuple[int, int]] = ((12, 12),),
    classes: Sequence[str] = CLASSES,
    suffix: str = "png",
    grey: bool = False,
) -> Path:
    """Write a subfolder of images for each class, whose sizes (height, width) alternate."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = pixels(label, number, sizes[number % len(sizes)], grey=grey)
            Image.fromarray(image).save(folder / name / f"{number:03}.{suffix}")
    return folder

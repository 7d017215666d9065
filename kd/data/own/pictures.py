"""Decode image files into one array: RGB or grey, upright, all of one size."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from kd.data.npz import memory_bytes, said_bytes
from kd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["decoded"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
DEEP = ("I", "F")  # first letters of the modes with more than 8 bits: converting them would cut the bright half off
TURNED = range(5, 9)  # of the EXIF tag: height and width change places

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
_Got = TypeVar("_Got")


def decoded(paths: Sequence[Path], what: str, size: Size | None = None) -> Pixels:
    """Return images as uint8, shape (n, h, w, 3), or (n, h, w, 1) where all of them are grey.

    Of a GIF the first frame is taken, transparency is dropped, and a photograph is turned as its EXIF tag says.

    Args:
        paths: at least one.
        what: name of the dataset in messages.
        size: (height, width) to which other images are resized, bilinear with antialias; None: all have one size.

    Raises:
        DataError: a file that cannot be decoded, images of several sizes without `size`, or more than fits memory.
    """
    from PIL import Image

    with warnings.catch_warnings():  # here and not in the threads, which share the filters
        warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF tags and transparent palettes: neither is used
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return _decoded(paths, what, _only_size(paths, what) if size is None else size)


def _decoded(paths: Sequence[Path], what: str, size: Size) -> Pixels:
    from PIL import Image

    height, width = size
    if (total := 3 * len(paths) * height * width) > memory_bytes():
        raise DataError(
            f"{what} holds {len(paths):,} images, {said_bytes(total)} at {height} x {width}, and this machine has"
            f" {said_bytes(memory_bytes())} of memory; give a smaller size"
        )
    out = np.empty((len(paths), height, width, 3), np.uint8)

    def decode(number: int) -> bool:
        image = _opened(paths[number], lambda image: _upright_rgb(image, paths[number]))
        if (image.height, image.width) != size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        out[number] = np.asarray(image)
        return bool((out[number, ..., :1] == out[number]).all())

    grey = _in_threads(decode, range(len(paths)))
    return np.ascontiguousarray(out[..., :1]) if all(grey) else out


def _only_size(paths: Sequence[Path], what: str) -> Size:
    sizes = _in_threads(lambda path: _opened(path, _upright_size), paths)
    counts = Counter(sizes)
    if len(counts) == 1:
        return sizes[0]
    (common, _), second = counts.most_common(1)[0], next(size for size in sizes if size != sizes[0])
    first = f"{paths[0].parent.name}/{paths[0].name} is {sizes[0][0]} x {sizes[0][1]}"
    path = paths[sizes.index(second)]
    other = f"{path.parent.name}/{path.name} is {second[0]} x {second[1]}"
    raise DataError(
        f"{what} has images of {len(counts)} sizes: {first}, {other}"
        f" (height x width); give the size that all of them get, such as size = [{common[0]}, {common[1]}]"
    )


def _opened(path: Path, use: "Callable[[Image.Image], _Got]") -> _Got:
    """Open an image and use it; whatever Pillow says of a bad file becomes one line that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            return use(image)
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} is larger than an image of a dataset may be: {_first_line(error)}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image that can be read; replace or remove it") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, and others
        raise DataError(f"{path} is a broken image: {_first_line(error)}; replace or remove it") from error


def _upright_size(image: "Image.Image") -> Size:
    turned = image.getexif().get(0x0112) in TURNED
    return (image.width, image.height) if turned else (image.height, image.width)


def _upright_rgb(image: "Image.Image", path: Path) -> "Image.Image":
    from PIL import ImageOps

    if image.mode.startswith(DEEP):
        raise DataError(f"{path} has more than 8 bits for each pixel (mode {image.mode}); save it with 8")
    return ImageOps.exif_transpose(image).convert("RGB")


def _in_threads(function: "Callable[..., _Got]", items: Sequence[object] | range) -> list[_Got]:
    """Call a function on each item; Pillow decodes without Python's lock, so threads use all cores."""
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as threads:
        futures = [threads.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

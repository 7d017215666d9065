"""Read a folder of images: find its classes, decode once per machine, normalize the arrays."""

import hashlib
import json
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, by_content, checked, format_bytes, held_out, memory_bytes, raw_npz, save_npz
from kd.data.cache import cache_dir, locked
from kd.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
OTHER_IMAGES = (".webp", ".tif", ".tiff", ".heic", ".avif", ".ppm", ".pgm", ".jp2")
PARTS = ("train", "test")
NEEDED = ("x_train", "y_train")
VERSION = 1  # of decoding and splitting; after a change every folder is decoded again

if TYPE_CHECKING:  # imported where images are decoded: naming a dataset must not need Pillow
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
DEEP = ("I", "F")  # first letters of modes with more than 8 bits, whose bright half a conversion would clip
TURNED = range(5, 9)  # values of the EXIF orientation that swap height and width

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
Files = tuple[tuple[Path, ...], ...]
Raw = Mapping[str, npt.NDArray[Any]]
_Got = TypeVar("_Got")

log = logging.getLogger(__name__)


def decoded(paths: Sequence[Path], what: str, size: Size | None = None) -> Pixels:
    """Decode images to uint8, shape (n, h, w, 3), or (n, h, w, 1) if all are grey.

    A GIF gives its first frame, transparency is dropped, and photographs are rotated by their EXIF tag. Images are
    resized to `size`, (height, width), bilinear with antialiasing; without it they must all have one size.

    Raises:
        DataError: a file that cannot be decoded, images of several sizes without `size`, or too many for the memory.
    """
    from PIL import Image

    with warnings.catch_warnings():  # not in the threads, which share the filters
        warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF tags and transparent palettes, both unused
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        height, width = _only_size(paths, what) if size is None else size
        if (total := 3 * len(paths) * height * width) > memory_bytes():
            raise DataError(
                f"{what} holds {len(paths):,} images, {format_bytes(total)} at {height} x {width}, and this machine has"
                f" {format_bytes(memory_bytes())} of memory; give a smaller size"
            )
        out = np.empty((len(paths), height, width, 3), np.uint8)

        def decode(number: int) -> bool:
            image = _opened(paths[number], lambda image: _upright_rgb(image, paths[number]))
            if (image.height, image.width) != (height, width):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            out[number] = np.asarray(image)
            return bool((out[number, ..., :1] == out[number]).all())

        grey = _in_threads(decode, range(len(paths)))
    return np.ascontiguousarray(out[..., :1]) if all(grey) else out


def _only_size(paths: Sequence[Path], what: str) -> Size:
    def upright_size(image: "Image.Image") -> Size:
        turned = image.getexif().get(0x0112) in TURNED
        return (image.width, image.height) if turned else (image.height, image.width)

    sizes = _in_threads(lambda path: _opened(path, upright_size), paths)
    counts = Counter(sizes)
    if len(counts) == 1:
        return sizes[0]
    common = counts.most_common(1)[0][0]
    other = next(number for number, size in enumerate(sizes) if size != sizes[0])
    examples = (
        f"{paths[number].parent.name}/{paths[number].name} is {sizes[number][0]} x {sizes[number][1]}"
        for number in (0, other)
    )
    raise DataError(
        f"{what} has images of {len(counts)} sizes: {', '.join(examples)}"
        f" (height x width); give one size for all, such as size = [{common[0]}, {common[1]}]"
    )


def _opened(path: Path, use: "Callable[[Image.Image], _Got]") -> _Got:
    """Open an image and use it; turn Pillow's errors about a bad file into one line with its path."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            return use(image)
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} is too large for an image of a dataset: {_first_line(error)}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image that can be read; replace or remove it") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error and others
        raise DataError(f"{path} is a broken image: {_first_line(error)}; replace or remove it") from error


def _upright_rgb(image: "Image.Image", path: Path) -> "Image.Image":
    from PIL import ImageOps

    if image.mode.startswith(DEEP):
        raise DataError(f"{path} has more than 8 bits per channel (mode {image.mode}); save it with 8")
    return ImageOps.exif_transpose(image).convert("RGB")


def _in_threads(function: "Callable[..., _Got]", items: Sequence[object] | range) -> list[_Got]:
    """Call a function on each item in threads: Pillow releases Python's lock while it decodes."""
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as threads:
        return list(threads.map(function, items))  # after an error it cancels the rest


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass(frozen=True)
class Layout:
    """The image files of a folder.

    Attributes:
        class_names: sorted; class 0 is the first.
        train: for each class its files, sorted by name.
        test: the same; empty if the folder has no test part.
    """

    class_names: tuple[str, ...]
    train: Files
    test: Files = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for part in (self.train, self.test) for files in part for file in files)


def layout(folder: Path) -> Layout:
    """Return the image files of a folder, without those whose names begin with "." or "__".

    Raises:
        DataError: no such folder, or one with another layout: one line that names the folder or file.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"{folder} {what}; give a folder with one subfolder of images for each class, the path of an .npz file,"
            " or ./file.py:function"
        )
    try:
        return _layout(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error


def _layout(folder: Path) -> Layout:
    parts = _subfolders(folder)
    if not set(PARTS) <= set(parts):
        classes = _classes(folder, parts)
        return Layout(tuple(classes), tuple(classes.values()))
    if others := [name for name in parts if name not in PARTS]:
        raise DataError(
            f"{folder} has train, test and {', '.join(others)}; allowed: train and test. Put validation images into"
            " train, from which the validation part is taken"
        )
    train, test = (_classes(parts[name], _subfolders(parts[name])) for name in PARTS)
    if more := [name for name in test if name not in train]:
        raise DataError(f"{folder}/test has the class {more[0]!r}, which {folder}/train lacks")
    return Layout(tuple(train), tuple(train.values()), tuple(test.get(name, ()) for name in train))


def _classes(folder: Path, subfolders: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    if not subfolders:
        loose = len(_images(folder))
        problem = f"holds {loose} images and no subfolders" if loose else "holds no images"
        raise DataError(f"{folder} {problem}; give a folder with one subfolder of images for each class")
    classes = {name: _images(path) for name, path in subfolders.items()}
    for name, files in classes.items():
        if not files:
            inside = ", ".join(list(_subfolders(subfolders[name]))[:3])
            hint = f"it has the subfolders {inside}, ..." if inside else f"allowed: {', '.join(SUFFIXES)}"
            raise DataError(f"{subfolders[name]} holds no images, and each subfolder is a class; {hint}")
    if len(classes) < 2 and folder.name != "test":
        raise DataError(f"{folder} has one class only, {next(iter(classes))!r}; at least 2 are needed")
    return classes


def _subfolders(folder: Path) -> dict[str, Path]:
    folders = [path for path in folder.iterdir() if not path.name.startswith((".", "__")) and path.is_dir()]
    return {path.name: path for path in sorted(folders, key=lambda path: path.name)}


def _images(folder: Path) -> tuple[Path, ...]:
    files = [path for path in folder.iterdir() if not path.name.startswith((".", "__")) and path.is_file()]
    for path in files:
        if path.suffix.lower() in OTHER_IMAGES:
            raise DataError(f"{path} has an unsupported format; allowed: {', '.join(SUFFIXES)}")
    return tuple(sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=lambda path: path.name))


def normalize(raw: Raw, what: str, class_names: tuple[str, ...] = ()) -> tuple[Arrays, tuple[str, ...]]:
    """Return arrays as a checked dataset, and a note for each conversion.

    Args:
        raw: x_train and perhaps x_test: (n, h, w), (n, h, w, 1) or (n, h, w, 3); uint8, other integers in 0..255, or
            floats that are all in [0, 1] or all whole and in 0..255. y_train and perhaps y_test: whole numbers, (n,) or
            (n, 1), or one-hot, (n, classes). Without a test part, a sixth of the images is held out.

    Raises:
        DataError: one line with the array, its problem, and what is allowed.
    """
    if ("x_test" in raw) != ("y_test" in raw):
        present, absent = ("x_test", "y_test") if "x_test" in raw else ("y_test", "x_test")
        raise DataError(f"{what} has {present} and no {absent}; give both, or neither to hold out a sixth")
    keys = KEYS if "x_test" in raw else NEEDED
    images, notes = _pixels({key: raw[key] for key in keys if key[0] == "x"}, what)
    labels = {key: _labels(raw[key], f"{what}: {key}") for key in keys if key[0] == "y"}
    if "x_test" not in raw:
        x, y = images["x_train"], labels["y_train"]
        # Checked before a sixth is held out, so that errors are about the user's arrays.
        whole = checked({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, what, class_names)
        train, test = held_out(x, y.reshape(-1))
        _check_kept(whole, train, what)
        images, labels = {"x_train": x[train], "x_test": x[test]}, {"y_train": y[train], "y_test": y[test]}
        kept = f"{len(test):,} of {len(x):,} images are held out as one (the same ones every time)"
        notes = (*notes, f"no test set found: {kept}")
    return checked({**images, **labels}, what, class_names), notes


def _check_kept(whole: Arrays, train: npt.NDArray[np.int64], what: str) -> None:
    if len(np.unique(whole.y_train[train])) == whole.classes:
        return
    counts = np.bincount(whole.y_train)  # a class with 2 images keeps one, so some class has 1
    label, few = int(counts.argmin()), int((counts == 1).sum())
    name = f" ({whole.class_names[label]})" if whole.class_names else ""
    others = f", as {few - 1} of the others have" if few > 1 else ""
    raise DataError(
        f"{what}: class {label}{name} has 1 image{others}, too few to hold out a sixth as a test part; give 2 or more"
        " of each class, or a test part"
    )


def _pixels(images: Raw, what: str) -> tuple[dict[str, npt.NDArray[np.uint8]], tuple[str, ...]]:
    kinds = {array.dtype for array in images.values()}
    if len(kinds) > 1:
        types = " and ".join(f"{key} is {array.dtype}" for key, array in images.items())
        raise DataError(f"{what}: {types}; give both the same type, best uint8, 0..255")
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
    """Return labels as integers, and other numbers as they are, for `checked` to refuse."""
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


def read_folder(folder: Path, size: Size | None) -> tuple[Arrays, tuple[str, ...]]:
    """Return the images of a folder as a dataset, and its notes, from the cache if they were decoded before.

    A cached copy is valid for the same files with the same sizes and times. Workers also compare the hash of the
    content, so they never train on an old copy.

    Raises:
        DataError: see `layout`, `decoded` and `normalize`.
    """
    tree = layout(folder)
    prefix, key = _names(folder, tree, size)
    try:
        with locked(prefix):  # of many workers that start at once, one decodes
            path = cache_dir() / f"{prefix}-{key}.npz"
            if (cached := _cached(path)) is not None:
                return cached
            arrays, notes = _decode(folder, tree, size)
            for older in cache_dir().glob(f"{prefix}-*.npz"):
                older.unlink(missing_ok=True)
            about = {"class_names": arrays.class_names, "notes": notes, "content_hash": arrays.content_hash}
            save_npz(path, about=np.array(json.dumps(about)), **{key: getattr(arrays, key) for key in KEYS})
            return arrays, notes
    except OSError as error:
        log.warning("%s is decoded again by every worker: the cache cannot be used: %s", folder, error)
        return _decode(folder, tree, size)


def folder_key(folder: Path, size: Size | None) -> str:
    """Return a key that changes when a file of the folder is added, removed or written, or `size` changes."""
    return "-".join(_names(folder, layout(folder), size))


def _names(folder: Path, tree: Layout, size: Size | None) -> tuple[str, str]:
    import PIL
    from PIL import features

    decoder = [VERSION, PIL.__version__, features.version("jpg"), features.version("zlib")]
    files: list[Any] = []
    for path in tree.files:
        status = path.stat()
        files.append([str(path.relative_to(folder)), status.st_size, status.st_mtime_ns])
    return f"folder-{_digest([str(folder.absolute()), size])}", _digest([decoder, files])


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _decode(folder: Path, tree: Layout, size: Size | None) -> tuple[Arrays, tuple[str, ...]]:
    log.info("decoding %s images of %s", f"{len(tree.files):,}", folder)
    pixels = decoded(tree.files, str(folder), size)
    trained = sum(map(len, tree.train))
    raw: dict[str, npt.NDArray[Any]] = {}
    parts = {"train": (pixels[:trained], tree.train), "test": (pixels[trained:], tree.test)}
    for part, (images, files) in parts.items():
        if files:
            labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files])
            order = by_content(images, labels)  # the names of the files must not matter
            raw |= {f"x_{part}": images[order], f"y_{part}": labels[order]}
    return normalize(raw, str(folder), tree.class_names)


def _cached(path: Path) -> tuple[Arrays, tuple[str, ...]] | None:
    if not path.exists():
        return None
    try:
        raw = raw_npz(path)
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
        arrays, _ = normalize(raw, str(path), tuple(about["class_names"]))
    except (DataError, KeyError, ValueError, OSError) as error:
        log.warning("%s is damaged; decoding the folder again: %s", path, error)
        return None
    if arrays.content_hash != about["content_hash"]:
        log.warning("%s is damaged; decoding the folder again", path)
        return None
    return arrays, tuple(about["notes"])

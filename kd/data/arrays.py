"""Read the four arrays of a dataset from .npz, idx and CIFAR files; check, hash and split them; bound the memory.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Python / Matlab versions".
"""

import gzip
import hashlib
import json
import math
import os
import pickle
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kd.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")
SMALLEST_SIDE = 8  # pixels

# Raised by NumPy and zipfile on a file that is damaged, encrypted (RuntimeError), or of another kind.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, MemoryError)

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]

SEED = 150302531  # arXiv:1503.02531; any number would do, but it must never change
TEST_SEED = 20260715  # of the test part held out from a dataset without one; it must never change, either
TEST_SHARE = 6  # one image in six

# Images shrink to a half or a tenth, drawings to a hundredth. A file of zeros shrinks to a thousandth: 5 MB fill 5 GB.
MOST_TIMES = 200
HARMLESS_BYTES = 256 * 1024**2  # unpacked from any file


def not_a_file(path: Path) -> str | None:
    """Return why a path is not a regular file, as a phrase that follows its name; None if it is one.

    Call it before opening: opening a FIFO waits for a process that writes into it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return f"is a {kinds.get(stat.S_IFMT(mode), 'device')}, not a file"


def check_size(path: Path, keys: Container[str] | None = None) -> None:
    """Check from headers alone that the arrays of an .npz file are not too large. keys: the arrays; None: all.

    Raises:
        DataError: the arrays take more than HARMLESS_BYTES and more than MOST_TIMES the size of the file, or more than
            this machine's memory; or a header claims more bytes than are stored.
        zipfile.BadZipFile, OSError, ValueError: it is not a zip file of arrays.
    """
    total = 0
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            name, array = os.path.splitext(member.filename)
            if array != ".npy" or (keys is not None and name not in keys):
                continue
            size = _bytes_of(file, member)
            if size > member.file_size:
                claim, stored = format_bytes(size), format_bytes(member.file_size)
                raise DataError(f"{path}: {member.filename} claims {claim}, but holds {stored}")
            total += size
    packed = path.stat().st_size
    if total > max(HARMLESS_BYTES, MOST_TIMES * packed):
        raise DataError(
            f"{path} of {format_bytes(packed)} would unpack to {format_bytes(total)}, more than {MOST_TIMES} times its"
            " size; if that is intended, write it with numpy.savez, which does not compress"
        )
    check_memory(str(path), total)


def check_memory(what: str, total: int) -> None:
    if total > (memory := memory_bytes()):
        raise DataError(
            f"{what} holds {format_bytes(total)} of arrays, and this machine has {format_bytes(memory)} of memory; give"
            " fewer or smaller images"
        )


def _bytes_of(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return how much memory an array takes, from its header; 0 for an array of objects, which is never read."""
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return 0 if dtype.hasobject else math.prod(shape) * int(dtype.itemsize)


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def format_bytes(count: float) -> str:
    """Return a number of bytes for messages, such as "11.49 MB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A summary of a dataset.

    Attributes:
        content_hash: sha256 of the whole dataset.
        training_images: number of images to train on, without the validation images.
        input_shape: (h, w, c) of every image.
        class_names: of class 0, 1, ... of a folder of images; else empty.
        notes: the conversions of a user's dataset, a line each.
    """

    content_hash: str
    training_images: int
    input_shape: tuple[int, int, int]
    classes: int
    validation_images: int
    test_images: int
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def validation_images(total: int) -> int:
    """Return the number of validation images, a tenth of the training images, for a dataset without a published one."""
    return max(1, total // 10)


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrays:
    """A checked dataset, before it is split for validation.

    Attributes:
        x_train, x_test: uint8, shape (n, h, w, c), C-contiguous; c is 1 or 3, h and w at least 8.
        y_train, y_test: int64, shape (n,), in 0..classes-1; every class occurs in y_train.
        classes: at least 2.
        class_names: of class 0, 1, ... of a folder of images; else empty.
    """

    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    classes: int
    class_names: tuple[str, ...] = ()

    @cached_property
    def hashes(self) -> dict[str, str]:
        # One type for all labels: the hash must not depend on the type in the file.
        stored = np.uint8 if self.classes <= 256 else np.dtype("<i8")
        parts = self.x_train, self.y_train.astype(stored), self.x_test, self.y_test.astype(stored)
        return {key: _sha256(part) for key, part in zip(KEYS, parts, strict=True)}

    @property
    def content_hash(self) -> str:
        return content_hash_of(self.hashes, self.x_train.shape[1:], self.class_names)

    def contents(self, validation: int, notes: tuple[str, ...] = ()) -> Contents:
        """Return a summary without the arrays. validation: number of training images held out for it."""
        total, height, width, channels = self.x_train.shape
        return Contents(
            content_hash=self.content_hash,
            training_images=total - validation,
            input_shape=(height, width, channels),
            classes=self.classes,
            validation_images=validation,
            test_images=len(self.y_test),
            class_names=self.class_names,
            notes=notes,
        )


def content_hash_of(hashes: Mapping[str, str], image_shape: tuple[int, ...], class_names: tuple[str, ...] = ()) -> str:
    """Return the sha256 over the image shape (h, w, c), the sha256 of the four arrays, and the class names, if any.

    The shape is included because the raw bytes of 8x32 and 16x16 images can be the same.
    """
    lines = [f"image {'x'.join(map(str, image_shape))}", *(f"{key} {hashes[key]}" for key in KEYS)]
    if class_names:
        lines.append(f"classes {json.dumps(class_names)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_npz(path: Path) -> Arrays:
    """Read and check the dataset in an .npz file, compressed or not, without unpickling.

    Raises:
        DataError: no such file, not a readable .npz, too large when unpacked (`check_size`), or not a dataset
            (`checked`).
    """
    return checked(raw_npz(path), str(path))


def raw_npz(path: Path, needed: tuple[str, ...] = KEYS) -> dict[str, npt.NDArray[Any]]:
    """Return the four arrays, or the ones that an .npz file has, unchecked, without unpickling.

    Raises:
        DataError: as for `read_npz`, except for the checks of the arrays; or a needed key is missing.
    """
    if (what := not_a_file(path)) is not None:
        raise DataError(f"{path} {what}; give the path of an .npz file with the keys {', '.join(KEYS)}")
    try:
        if not zipfile.is_zipfile(path):  # np.load would complain about pickles
            raise DataError(f"{path} is not an .npz file, or is cut short; write it again with numpy.savez(path, ...)")
        check_size(path, KEYS)
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            missing = [key for key in needed if key not in stored.files]
            if missing:
                raise DataError(
                    f"{path} lacks {', '.join(missing)}; it has {', '.join(stored.files) or 'nothing'}; "
                    f"an .npz dataset needs {', '.join(KEYS)}"
                )
            return {key: stored[key] for key in KEYS if key in stored.files}
    except UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read: {_one_line(error)}; write it again with numpy.savez(path, ...) from "
            f"uint8 images and integer labels"
        ) from error


def save_npz(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write an .npz file, whole or not at all."""
    # First into a neighbouring temporary folder: a full disk or a kill then leaves no file that looks like arrays.
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        unfinished = Path(folder) / "whole.npz"
        np.savez(unfinished, allow_pickle=False, **arrays)
        unfinished.replace(path)


def checked(raw: Mapping[str, npt.NDArray[Any]], what: str, class_names: tuple[str, ...] = ()) -> Arrays:
    """Check four raw arrays and return them as a dataset.

    Args:
        raw: x_train and x_test, uint8, (n, h, w) or (n, h, w, c); y_train and y_test, integers, (n,) or (n, 1).
        what: the dataset in messages, such as its path.

    Raises:
        DataError: they are not a valid dataset; one line with the array, its problem, and what is allowed.
    """
    x_train, x_test = (_images(raw[key], f"{what}: {key}") for key in ("x_train", "x_test"))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{what}: x_train has images of shape {x_train.shape[1:]} and x_test of {x_test.shape[1:]} "
            f"(height, width, channels); they must be the same"
        )
    y_train = _labels(raw["y_train"], len(x_train), f"{what}: y_train")
    y_test = _labels(raw["y_test"], len(x_test), f"{what}: y_test")

    present = np.unique(y_train)
    classes = int(present[-1]) + 1
    if len(present) != classes:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise DataError(
            f"{what}: y_train goes up to {classes - 1} but has no image of class {absent}; "
            f"labels must be 0..classes-1, every class present"
        )
    if classes < 2:
        raise DataError(f"{what}: y_train has one class only; at least 2 are needed")
    if y_test.max() >= classes:
        raise DataError(f"{what}: y_test has label {y_test.max()}, which y_train lacks; allowed: 0..{classes - 1}")
    return Arrays(
        x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=classes, class_names=class_names
    )


def _images(array: npt.NDArray[Any], what: str) -> Images:
    if array.dtype != np.uint8:
        raise DataError(f"{what} is {array.dtype}; images must be uint8, 0..255")
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(f"{what} has shape {array.shape}; allowed: (n, h, w), (n, h, w, 1), (n, h, w, 3)")
    if len(array) == 0:
        raise DataError(f"{what} holds no image")
    if min(array.shape[1:3]) < SMALLEST_SIDE:
        raise DataError(f"{what} has shape {array.shape}; images must be {SMALLEST_SIDE}x{SMALLEST_SIDE} or larger")
    return np.ascontiguousarray(array if array.ndim == 4 else array[..., np.newaxis])


def _labels(array: npt.NDArray[Any], images: int, what: str) -> Labels:
    if array.dtype.kind not in "iu":
        raise DataError(f"{what} is {array.dtype}; labels must be integers")
    if array.shape not in ((images,), (images, 1)):
        raise DataError(f"{what} has shape {array.shape}; allowed for {images} images: ({images},), ({images}, 1)")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= 2**31:
        wrong = lowest if lowest < 0 else highest
        raise DataError(f"{what} has label {wrong}; labels must be 0..classes-1")
    return array.reshape(-1).astype(np.int64)


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, 8 for uint8, the dimensions, big-endian sizes, the data.

    Source: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS FOR THE MNIST DATABASE".
    """
    if content[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of uint8")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def unzipped(path: Path, most_bytes: int) -> bytes:
    with gzip.open(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} unpacks to more than {most_bytes} bytes")
    return content


def read_cifar10_tar(path: Path) -> Arrays:
    train = [f"data_batch_{number}" for number in range(1, 6)]
    return _read_cifar("CIFAR-10", path, "cifar-10-batches-py", train, "test_batch", b"labels")


def read_cifar100_tar(path: Path) -> Arrays:
    return _read_cifar("CIFAR-100", path, "cifar-100-python", ["train"], "test", b"fine_labels")


def _read_cifar(what: str, path: Path, folder: str, train: list[str], test: str, labels: bytes) -> Arrays:
    batches: dict[str, tuple[Images, npt.NDArray[np.uint8]]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in (*train, test):
                member = archive.extractfile(f"{folder}/{name}")
                if member is None:
                    raise DataError(f"{folder}/{name} is not a file in the archive")
                batches[name] = _read_batch(member, labels)
    except (tarfile.TarError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"the {what} archive cannot be read: {error}") from error
    return checked(
        {
            "x_train": np.concatenate([batches[name][0] for name in train]),
            "y_train": np.concatenate([batches[name][1] for name in train]),
            "x_test": batches[test][0],
            "y_test": batches[test][1],
        },
        f"{what} archive",
    )


def _read_batch(file: IO[bytes], labels: bytes) -> tuple[Images, npt.NDArray[np.uint8]]:
    batch = _BatchUnpickler(file, encoding="bytes").load()
    planes = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)  # channels first
    return planes.transpose(0, 2, 3, 1), np.asarray(batch[labels], dtype=np.uint8)


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            # The pickles pass align=0; NumPy 2.4 deprecates all values but a bool there.
            return lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy))
        return super().find_class(module, name)


def stratified_order(labels: Indices, seed: int = SEED) -> Indices:
    """Return a permutation of 0..n-1, int64, whose every prefix and suffix is stratified by class.

    Image number j of the n images of its class, in shuffled order, is placed at j/n, and ties are broken at random. So
    the first N hold each class in proportion (to within one image per class), and hold every class, however rare, once
    N reaches the number of classes.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    place = np.empty(len(labels), dtype=np.float64)  # in [0, 1)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = np.arange(len(members)) / len(members)
    tie_break = rng.permutation(len(labels))
    return np.lexsort((tie_break, place)).astype(np.int64)


def by_content(images: Images, labels: Indices) -> Indices:
    """Return the order by class, and within a class by the sha256 of each image's pixels."""
    return np.lexsort((np.array([_sha256(image) for image in images]), labels))


def held_out(images: npt.NDArray[np.uint8], labels: Indices) -> tuple[Indices, Indices]:
    """Return the positions, int64 and ascending, of the training and of the test images: a sixth, stratified by class.

    The split depends on the images and their labels, not on their order: each class is first sorted by the sha256 of
    its images.
    """
    order = by_content(images, labels)
    shuffled = order[stratified_order(labels[order], TEST_SEED)]
    tests = max(1, len(labels) // TEST_SHARE)
    return np.sort(shuffled[:-tests]), np.sort(shuffled[-tests:])


def split_hash(name: str, content_hash: str, train: Indices, validation: Indices) -> str:
    """Return the sha256 over the dataset and the images chosen from it, in order.

    Two runs with the same split hash trained and validated on the same images.
    """
    digest = hashlib.sha256(f"{name}\n{content_hash}\n{len(train)} {len(validation)}\n".encode())
    for indices in (train, validation):
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()

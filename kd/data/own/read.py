"""Read a dataset of a user's own, whatever its kind, and remember in few words what was found."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kd import code
from kd.data.arrays import Arrays, raw_npz
from kd.data.own.decoded import folder_key, read_folder
from kd.data.own.forms import NEEDED, taken
from kd.data.own.functions import arrays_of
from kd.data.own.kinds import Kind, kind_of, place_of
from kd.errors import CodeError, DataError

__all__ = ["Own", "Summary", "read_own", "summary"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Own:
    """A dataset of a user's own.

    Attributes:
        arrays: checked.
        notes: what was changed on the way, a line each.
        kind: of the name.
        path: its file or folder; None for a function of a module.
    """

    arrays: Arrays
    notes: tuple[str, ...]
    kind: Kind
    path: Path | None

    @cached_property
    def summary(self) -> "Summary":
        """What is worth remembering of it, without the arrays."""
        _, height, width, channels = self.arrays.x_train.shape
        return Summary(
            content_hash=self.arrays.content_hash,
            train=len(self.arrays.y_train),
            test=len(self.arrays.y_test),
            input_shape=(height, width, channels),
            classes=self.arrays.classes,
            class_names=self.arrays.class_names,
            notes=self.notes,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an own dataset holds. train, test: images. Others as in `kd.data.datasets.Contents`."""

    content_hash: str
    train: int
    test: int
    input_shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Memory:
    """What this process has read already: of functions the arrays, which might differ next time; else few words."""

    made: dict[tuple[str, str], Own] = field(default_factory=dict)
    seen: dict[tuple[str, ...], Summary] = field(default_factory=dict)


_MEMORY = _Memory()


def read_own(name: str, *, size: tuple[int, ...] = (), data_dir: Path | None = None) -> Own:
    """Read an own dataset.

    Args:
        name: of a kind of `kd.data.own.kinds.kind_of`.
        size: (height, width) for the images of a folder; empty: they all have one size.
        data_dir: folder in which a file or folder is looked for by its name, if it is not at its path; None means
            KD_SWEEPS_DATA, if set.

    Raises:
        DataError: it is missing, or no dataset; one line.
    """
    kind = kind_of(name)
    if size and kind != "folder":
        raise DataError(f"{name}: size is of a folder of images; the arrays of a file or function have theirs already")
    if kind == "function":
        return _made(name)
    path = place_of(name, data_dir)
    if kind == "folder":
        arrays, notes = read_folder(path, (size[0], size[1]) if size else None)
        found = Own(arrays=arrays, notes=notes, kind="folder", path=path)
    else:
        arrays, notes = taken(raw_npz(path, NEEDED), str(path))
        found = Own(arrays=arrays, notes=notes, kind="file", path=path)
    return found


def summary(name: str, *, size: tuple[int, ...] = (), data_dir: Path | None = None) -> Summary:
    """Return what an own dataset holds; read once in a process for as long as its files are the same.

    Arguments and errors as for `read_own`.
    """
    key = _signature(name, size, data_dir)
    if key is None or key not in _MEMORY.seen:
        found = read_own(name, size=size, data_dir=data_dir).summary
        if key is None:
            return found
        _MEMORY.seen[key] = found
    return _MEMORY.seen[key]


def _made(name: str) -> Own:
    """Return the arrays of a function, which is called once in a process."""
    try:
        digest = code.hash_of(name)
    except CodeError:
        digest = ""  # said below
    if (name, digest) not in _MEMORY.made:
        arrays, notes = taken(arrays_of(name), f"dataset {name!r}")
        _MEMORY.made[name, digest] = Own(arrays=arrays, notes=notes, kind="function", path=code.file_of(name))
    return _MEMORY.made[name, digest]


def _signature(name: str, size: tuple[int, ...], data_dir: Path | None) -> tuple[str, ...] | None:
    """Return what is the same for as long as a dataset on the disk is; None: it is not there."""
    kind = kind_of(name)
    if kind == "function" or (size and kind != "folder"):
        return None
    path = place_of(name, data_dir)
    if kind == "folder":
        return "folder", str(path.absolute()), folder_key(path, (size[0], size[1]) if size else None)
    try:
        status = path.stat()
    except OSError:
        return None
    return "file", str(path.absolute()), f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

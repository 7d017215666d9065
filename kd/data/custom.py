"""Your own dataset: its kinds, a function that returns it, what is found in it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, check_memory, raw_npz
from kd.data.cache import named_folder
from kd.data.images import NEEDED, folder_key, normalize, read_folder
from kd.errors import CodeError, DataError, DataNotHere, told
from kd.tools import code

RETURNS = "return ((x_train, y_train), (x_test, y_test)), or these four in a dict"


def arrays_of(name: str) -> dict[str, npt.NDArray[Any]]:
    """Return what a user's function without arguments gives, by key, unchecked.

    Args:
        name: "package.module:function" or "./file.py:function", see `kd.tools.code`.

    Raises:
        DataError: it cannot be loaded or called so, it raises, or it returns something else, or more than this
            machine's memory; one line.
    """
    function = code.load_as("dataset", name, broken=DataError, missing=DataNotHere)
    if not callable(function):
        raise DataError(f"dataset {name!r} must be a function without arguments, got {type(function).__name__}")
    _check_signature(name, function)
    try:
        return _by_key(name, code.call(function))
    except DataError:
        raise
    except SystemExit as error:  # else the whole worker would end, and with exit code 0 as if it had finished
        raise DataError(f"dataset {name!r} calls sys.exit({error.code!r}); let it {RETURNS}") from error
    except Exception as error:  # the user's code may raise anything; the cause stays chained
        raise DataError(f"dataset {name!r} raises {told(error)}") from error


def _check_signature(name: str, function: Any) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C tell nothing: calling them will
        return
    try:
        signature.bind()
    except TypeError:
        raise DataError(f"dataset {name!r} is called without arguments, but takes {signature}") from None


def _by_key(name: str, made: Any) -> dict[str, npt.NDArray[Any]]:
    if isinstance(made, Mapping):
        if missing := [key for key in NEEDED if key not in made]:
            raise DataError(f"dataset {name!r} returns a dict without {', '.join(missing)}; {RETURNS}")
        return _fitting(name, {key: _array(name, key, made[key]) for key in KEYS if key in made})
    pairs = list(made) if isinstance(made, (tuple, list)) else []
    if len(pairs) != 2 or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise DataError(f"dataset {name!r} returns {_shape_of(made)}; {RETURNS}")
    values = [value for pair in pairs for value in pair]
    return _fitting(name, {key: _array(name, key, value) for key, value in zip(KEYS, values, strict=True)})


def _fitting(name: str, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays; those that NumPy broadcasts or maps from a file may be larger than memory until now."""
    check_memory(f"dataset {name!r}", sum(array.nbytes for array in arrays.values()))
    return arrays


def _array(name: str, key: str, value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise DataError(f"dataset {name!r}: {key} is {type(value).__name__} of objects; allowed: arrays of numbers")
    return array


def _shape_of(made: Any) -> str:
    many = f" of {len(made)}" if isinstance(made, (tuple, list)) else ""
    return f"{type(made).__name__}{many}"


Kind = Literal["file", "folder", "function"]

FORMS = "the path of an .npz file or of a folder of images, package.module:load, or ./file.py:load"


def kind_of(name: str) -> Kind | None:
    """Return the kind of an own dataset; None: a name without "/" or ":" that is no folder here either."""
    if name.lower().endswith(".npz"):
        return "file"
    if Path(name).expanduser().is_dir():
        return "folder"
    if code.is_code(name):
        return "function"
    return "folder" if "/" in name else None


def frozen_name(name: str) -> str:
    """Return the name with an absolute path, as a spec keeps it."""
    if kind_of(name) == "function":
        return code.frozen(name)
    return str(Path(name).expanduser().absolute())


def place_of(name: str, data_dir: Path | None) -> Path:
    """Return the path of a file or folder, or the one of that name in the data folder: on another machine they differ.

    Args:
        data_dir: from `--data`; None means KD_SWEEPS_DATA, if set.
    """
    path = Path(name).expanduser()
    if not path.exists() and (named := named_folder(data_dir)) is not None:
        moved = named[1] / path.name
        return moved if moved.exists() else path
    return path


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
        name: of a kind of `kd.data.custom.kind_of`.
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
        own = Own(arrays=arrays, notes=notes, kind="folder", path=path)
    else:
        arrays, notes = normalize(raw_npz(path, NEEDED), str(path))
        own = Own(arrays=arrays, notes=notes, kind="file", path=path)
    return own


def summary(name: str, *, size: tuple[int, ...] = (), data_dir: Path | None = None) -> Summary:
    """Return what an own dataset holds; read once in a process for as long as its files are the same.

    Arguments and errors as for `read_own`.
    """
    key = _signature(name, size, data_dir)
    if key is None or key not in _MEMORY.seen:
        summary = read_own(name, size=size, data_dir=data_dir).summary
        if key is None:
            return summary
        _MEMORY.seen[key] = summary
    return _MEMORY.seen[key]


def _made(name: str) -> Own:
    """Return the arrays of a function, which is called once in a process."""
    try:
        digest = code.hash_of(name)
    except CodeError:
        digest = ""  # said below
    if (name, digest) not in _MEMORY.made:
        arrays, notes = normalize(arrays_of(name), f"dataset {name!r}")
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

"""Read a user's dataset: a file, a folder of images, or a function that returns it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kd.data import cache, images
from kd.data.arrays import KEYS, Arrays, Contents, check_memory, raw_npz, validation_images
from kd.errors import CodeError, DataError, describe_error
from kd.tools import code

RETURNS = "return ((x_train, y_train), (x_test, y_test)), or these four in a dict"


def arrays_of(name: str) -> dict[str, npt.NDArray[Any]]:
    """Call a user's function without arguments and return its arrays, by key, unchecked.

    Raises:
        DataError: one line: it cannot be loaded or called, it raises, or it returns something else, or more than this
            machine's memory.
    """
    function = code.load_function("dataset", name, "without arguments", broken=DataError)
    try:
        arrays = _by_key(name, code.call(function))
        # Arrays that NumPy broadcasts or maps from a file exceed the memory only when they are copied.
        check_memory(f"dataset {name!r}", sum(array.nbytes for array in arrays.values()))
        return arrays
    except DataError:
        raise
    except SystemExit as error:  # it would end the worker, with exit code 0 as if it had finished
        raise DataError(f"dataset {name!r} calls sys.exit({error.code!r}); let it {RETURNS}") from error
    except Exception as error:  # the user's code may raise anything; the cause stays chained
        raise DataError(f"dataset {name!r} raises {describe_error(error)}") from error


def _by_key(name: str, result: Any) -> dict[str, npt.NDArray[Any]]:
    if isinstance(result, Mapping):
        if missing := [key for key in images.NEEDED if key not in result]:
            raise DataError(f"dataset {name!r} returns a dict without {', '.join(missing)}; {RETURNS}")
        return {key: _array(name, key, result[key]) for key in KEYS if key in result}
    pairs = list(result) if isinstance(result, (tuple, list)) else []
    if len(pairs) != 2 or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        many = f" of {len(result)}" if isinstance(result, (tuple, list)) else ""
        raise DataError(f"dataset {name!r} returns {type(result).__name__}{many}; {RETURNS}")
    values = [value for pair in pairs for value in pair]
    return {key: _array(name, key, value) for key, value in zip(KEYS, values, strict=True)}


def _array(name: str, key: str, value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise DataError(f"dataset {name!r}: {key} is {type(value).__name__} of objects; allowed: arrays of numbers")
    return array


Kind = Literal["file", "folder", "function"]

FORMS = "the path of an .npz file or of a folder of images, package.module:load, or ./file.py:load"


def kind_of(name: str) -> Kind | None:
    """Return the kind of a user's dataset; None for a name without "/" or ":" that is not a folder here."""
    if name.lower().endswith(".npz"):
        return "file"
    if Path(name).expanduser().is_dir():
        return "folder"
    if code.is_code(name):
        return "function"
    return "folder" if "/" in name else None


def frozen_name(name: str) -> str:
    """Return the name with an absolute path, as in a spec."""
    if kind_of(name) == "function":
        return code.frozen(name)
    return str(Path(name).expanduser().absolute())


def place_of(name: str, data_dir: Path | None) -> Path:
    """Return the path, or the same file name in the data folder: paths differ between machines."""
    path = Path(name).expanduser()
    if not path.exists() and (named := cache.named_folder(data_dir)) is not None:
        moved = named[1] / path.name
        return moved if moved.exists() else path
    return path


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """A dataset and its origin.

    Attributes:
        arrays: of a public dataset, verified against its hashes.
        origin: for messages, such as "cache: PATH".
        path: the file or folder; None for a synthetic dataset and for a function of a module.
        notes: as in `Contents`.
    """

    arrays: Arrays
    origin: str
    path: Path | None
    notes: tuple[str, ...] = ()


# Datasets that this process has read: the arrays of functions, whose next call might differ, and contents of the rest.
_MADE: dict[tuple[str, str], Source] = {}
_READ: dict[tuple[str, ...], Contents] = {}


def read_own(name: str, *, size: tuple[int, ...] = (), data_dir: Path | None = None) -> Source:
    """Read a user's dataset, of a name that `kind_of` knows.

    Args:
        size: (height, width) for the images of a folder; empty if they all have one size.
        data_dir: as for `place_of`.

    Raises:
        DataError: it is missing, or not a dataset; one line.
    """
    kind = kind_of(name)
    if size and kind != "folder":
        raise DataError(f"{name}: only a folder of images takes a size; arrays of a file or function have one already")
    if kind == "function":
        return _made(name)
    path = place_of(name, data_dir)
    if kind == "folder":
        arrays, notes = images.read_folder(path, (size[0], size[1]) if size else None)
    else:
        arrays, notes = images.normalize(raw_npz(path, images.NEEDED), str(path))
    return Source(arrays=arrays, origin=f"{kind}: {path}", path=path, notes=notes)


def contents_of(name: str, *, size: tuple[int, ...] = (), data_dir: Path | None = None) -> Contents:
    """Return a summary of a user's dataset, which a process reads once until its files change.

    Arguments and errors: as for `read_own`.
    """
    key = _signature(name, size, data_dir)
    if key is not None and key in _READ:
        return _READ[key]
    own = read_own(name, size=size, data_dir=data_dir)
    contents = own.arrays.contents(validation_images(len(own.arrays.y_train)), own.notes)
    if key is not None:
        _READ[key] = contents
    return contents


def _made(name: str) -> Source:
    try:
        digest = code.hash_of(name)
    except CodeError:
        digest = ""  # the loading will raise
    if (name, digest) not in _MADE:
        arrays, notes = images.normalize(arrays_of(name), f"dataset {name!r}")
        path = code.file_of(name)
        _MADE[name, digest] = Source(arrays=arrays, origin=f"function: {path or name}", path=path, notes=notes)
    return _MADE[name, digest]


def _signature(name: str, size: tuple[int, ...], data_dir: Path | None) -> tuple[str, ...] | None:
    """Return a key that changes when the files of a dataset change; None for a function or a missing file."""
    kind = kind_of(name)
    if kind == "function" or (size and kind != "folder"):
        return None
    path = place_of(name, data_dir)
    if kind == "folder":
        return "folder", str(path.absolute()), images.folder_key(path, (size[0], size[1]) if size else None)
    try:
        status = path.stat()
    except OSError:
        return None
    return "file", str(path.absolute()), f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

"""Call a user's function that returns the arrays of a dataset."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kd import code
from kd.data.arrays import KEYS
from kd.data.npz import check_memory
from kd.data.own.forms import NEEDED
from kd.errors import CodeError, CodeNotHere, DataError, DataNotHere, told

__all__ = ["arrays_of"]

RETURNS = "return ((x_train, y_train), (x_test, y_test)), or these four in a dict"


def arrays_of(name: str) -> dict[str, npt.NDArray[Any]]:
    """Return what a user's function without arguments gives, by key, unchecked.

    Args:
        name: "package.module:function" or "./file.py:function", see `kd.code`.

    Raises:
        DataError: it cannot be loaded or called so, it raises, or it returns something else, or more than this
            machine's memory; one line.
    """
    try:
        function = code.load(name)
    except CodeNotHere as error:
        raise DataNotHere(f"cannot import dataset {name!r} here: {error}") from error
    except CodeError as error:
        raise DataError(f"cannot import dataset {name!r}: {error}") from error
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

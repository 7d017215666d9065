"""Load a user's function by "package.module:name" or "./file.py:name", hash it, and check its signature.

A file is loaded from the bytes that were hashed, as a module named after the file and its sha256: two processes that
load the same file have the same module, so classes registered with Keras and pickled objects mean the same in both.

`without_current_folder` removes the folder that `python -m` puts on the path: a module there would be found by chance
on one machine and be missing on the next.
"""

import hashlib
import importlib.util
import inspect
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd.errors import NOT_HERE, CodeError, CodeNotHere, KdError, describe_error, suggestion

FOLDER_VARIABLE = "KD_SWEEPS_CODE"
"""A folder to search for a file by its name, if it is not at its path."""

NOT_CODE = ("pretrained:", "baseline:", "logits:")
HASH_DIGITS = 12  # of a module's name

_LOADED: dict[tuple[Path, str], types.ModuleType] = {}


def is_code(name: str) -> bool:
    """Return whether a name is of code: it has a colon, and not one of the prefixes of other names."""
    return ":" in name and not name.startswith(NOT_CODE)


def file_of(name: str) -> Path | None:
    """Return the absolute path of the file in a name, whether or not it exists; None for a module.

    A file has a "/" in its path and ends in ".py": "./mine.py:build" is in the current folder. Paths differ between
    machines, so a missing file is searched by its name in the folder KD_SWEEPS_CODE.
    """
    where, colon, _ = name.rpartition(":")
    if not colon or "/" not in where or not where.endswith(".py"):
        return None
    return located(Path(where))


def located(path: Path) -> Path:
    """Return the absolute path of a file, or of the same name in the folder KD_SWEEPS_CODE if it is there instead."""
    path = path.expanduser().absolute()
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not path.is_file() and (moved := Path(folder).expanduser().absolute() / path.name).is_file():
        return moved
    return path


def frozen(name: str) -> str:
    """Return the name with the absolute path of its file, as given, whatever KD_SWEEPS_CODE is."""
    if file_of(name) is None:
        return name
    where, _, attribute = name.rpartition(":")
    return f"{Path(os.path.normpath(Path(where).expanduser().absolute()))}:{attribute}"


def hash_of(name: str) -> str:
    """Return the sha256 of the file in a name, 64 hex digits; "" for a module.

    Raises:
        CodeNotHere: the file is missing, or cannot be read.
    """
    path = file_of(name)
    return "" if path is None else hash_file(path)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits; errors as for `hash_of`."""
    return hashlib.sha256(_read(located(path))).hexdigest()


def is_there(name: str) -> bool:
    """Return whether the file or the module in a name is on this machine, without running it (but parent packages)."""
    path = file_of(name)
    if path is not None:
        return path.is_file()
    module = name.partition(":")[0]
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def load(name: str) -> Any:
    """Return the object with a name, such as a function. A file is run once in a process, like a module.

    Raises:
        CodeNotHere: the module or the file is missing here.
        CodeError: one line: running it raised, or it has no such attribute.
    """
    where, colon, attribute = name.rpartition(":")
    is_relative = where.startswith(".") and file_of(name) is None  # a folder, or a file that is not .py
    if not colon or not where or is_relative or not attribute.isidentifier():
        raise CodeError(f"{name!r} names no code; write package.module:function or ./file.py:function")
    try:
        module = importlib.import_module(where) if (path := file_of(name)) is None else _module(path)
        if not hasattr(module, attribute):
            names = [known for known, value in vars(module).items() if callable(value)]
            form = "./file.py:function" if "/" in where else "package.module:function"
            raise CodeError(f"{where} has no attribute {attribute!r}{suggestion(attribute, names)} Write {form}")
        return getattr(module, attribute)
    except CodeError:
        raise
    except ImportError as error:
        if str(error).startswith("attempted relative import"):  # the file is no part of a package
            raise CodeError(f"{error}; import a file beside it by its name, as in: import other") from error
        raise CodeNotHere(f"{error}. {_cure(where)}") from error
    except SyntaxError as error:
        raise CodeError(f"{describe_error(error)}; correct that line") from error
    except (Exception, SystemExit) as error:  # a module runs at its import, and may raise anything
        plain = isinstance(error, (AttributeError, ValueError))
        raise CodeError(f"{error if plain else describe_error(error)}. {_cure(where)}") from error


def load_as(what: str, name: str, broken: type[KdError]) -> Any:
    """Load a name as `load` does, but raise `broken`, or the error of NOT_HERE for it. what: such as "loss"."""
    try:
        return load(name)
    except CodeNotHere as error:
        raise NOT_HERE[broken](f"cannot import {what} {name!r} here: {error}") from error
    except CodeError as error:
        raise broken(f"cannot import {what} {name!r}: {error}") from error


def load_function(what: str, name: str, called: str, *arguments: Any, broken: type[KdError]) -> Callable[..., Any]:
    """Load a function as `load_as` does, and check that it can be called with these arguments.

    Args:
        called: the call in messages, such as "as build(input_shape, classes)".
    """
    function = load_as(what, name, broken)
    if not callable(function):
        must_be = f"a function {called.removeprefix('as ')}"
        raise broken(f"{what} {name!r} must be {must_be}, got {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have no signature: calling them will show
        return function  # type: ignore[no-any-return]
    try:
        signature.bind(*arguments)
    except TypeError:
        raise broken(f"{what} {name!r} is called {called}, but takes {signature}") from None
    return function  # type: ignore[no-any-return]


def importable(name: str) -> str:
    """Load a name and return it as "module:attribute", for programs that import it by `importlib`."""
    if (path := file_of(name)) is None:
        return name
    load(name)
    return f"{_name(path, hash_of(name))}:{name.rpartition(':')[2]}"


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a user's function; exit in a process that it forked, which would continue as a second worker."""
    process = os.getpid()
    try:
        return function(*arguments)
    finally:
        if os.getpid() != process:
            os._exit(0)


def without_current_folder() -> None:
    """Remove the current folder from the Python path, if `python -m` put it there and this package is elsewhere.

    Workers and the installed command never have it. PYTHONPATH=. keeps it.
    """
    folder, first = os.getcwd(), sys.path[0] if sys.path else None
    named = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if sys.flags.safe_path or first not in ("", folder) or folder in named:
        return
    if Path(folder).resolve() != Path(__file__).resolve().parents[2]:  # else this package would not be found
        del sys.path[0]


def _module(path: Path) -> types.ModuleType:
    source = _read(path)
    wanted = _name(path, hashlib.sha256(source).hexdigest())
    if (path, wanted) in _LOADED:
        return _LOADED[path, wanted]
    module = types.ModuleType(wanted)
    module.__file__ = str(path)
    # Registered before it runs, because its classes may be looked up meanwhile. A copy of the file elsewhere is another
    # module, with its own __file__; the name belongs to the latest one.
    sys.modules[wanted] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[wanted]
        raise
    _LOADED[path, wanted] = module
    return module


def _name(path: Path, digest: str) -> str:
    return f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest[:HASH_DIGITS]}"


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CodeNotHere(f"{path} is not a file; write ./file.py:function")
        return path.read_bytes()
    except OSError as error:
        raise CodeNotHere(
            f"cannot read {path}: {error.strerror}; copy the file there, or to a FOLDER and"
            f" export {FOLDER_VARIABLE}=FOLDER"
        ) from error


def _cure(where: str) -> str:
    if "/" in where:
        return "Write ./file.py:function; what it imports must be installed, or on PYTHONPATH"
    return "Write package.module:function, with its folder on PYTHONPATH, or ./file.py:function"

"""Arguments of `Sweep`: checks, names of users' functions, and the environment of workers."""

import contextlib
import importlib.util
import operator
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeps.errors import SpecError

if TYPE_CHECKING:
    from storage.tables import SweepRecord
    from sweeps.spec.model import Spec


def name_of(function: Callable[..., Any], what: str) -> str:
    """Return the "package.module:function" by which another process imports a function; `what`: its argument.

    Raise SpecError if other processes cannot import it: a lambda, or a function defined inside another function or
    class, at a prompt, in a notebook or in the running script.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    loaded = sys.modules.get(module)
    described = f"the function {name}" if name else f"a value of type {type(function).__name__}"
    if not name or not module:
        problem = f"{described}, which is not a function"
    elif module == "__main__":
        problem = f"{described} of a notebook, a prompt or the running script, which workers cannot import"
    elif "<lambda>" in name:
        problem = "a lambda, which has no name to import it by"
    elif "." in name or loaded is None or getattr(loaded, name, None) is not function or not _is_importable(loaded):
        problem = f"{described}, which cannot be imported as {module}:{name}"
    else:
        return f"{module}:{name}"
    named = f'{what}="./my_models.py:build"' if what.isidentifier() else f'"{what}": "./my_loss.py:loss"'
    raise SpecError(f"{what}: got {problem}; put it in a separate file and name that, for example {named}")


def _is_importable(module: ModuleType) -> bool:
    origin = getattr(module, "__file__", None)  # None if it was loaded by other means
    return origin is not None and root_of(module.__name__, Path(origin)) is not None


def root_of(module: str, origin: Path) -> Path | None:
    """Return the folder of "package/module.py" or "package/module/__init__.py"; None if `origin` is another file."""
    file = origin.absolute()
    steps = [*file.parts[:-1], *([] if file.stem == "__init__" else [file.stem])]
    words = module.split(".")
    return Path(*steps[: -len(words)]) if steps[-len(words) :] == words else None


_EXAMPLES = {"spec": "my.toml", "data_dir": "data", "report": "my-report", "student": "mlp-800", "teacher": "cnn-small"}

DatasetName: TypeAlias = str | os.PathLike[str]
Model: TypeAlias = str | Callable[..., Any]


def base(preset: object, spec: str | os.PathLike[str] | None) -> "Spec | None":
    """Return the preset or the spec in a file; None if neither is given."""
    from sweeps.spec.stored import read
    from sweeps.usecases.create import preset as named

    if preset is not None and spec is not None:
        raise SpecError(f"got preset={preset!r} and spec={os.fspath(spec)!r}; give one of them")
    if preset is not None and not isinstance(preset, str):
        raise SpecError(f"preset: got {preset!r}; allowed: 'tiny', 'quick', 'compare' or 'full'")
    file = path("spec", spec)
    if file is not None:
        return read(file)
    return None if preset is None else named(preset)


def changed(changes: object) -> dict[str, Any]:
    """Return changes of a spec in stored form; raise SpecError if they are invalid."""
    if not isinstance(changes, Mapping | None):
        raise SpecError(f'changes: got {changes!r}; write them as {{"search.trials": 20}}')
    for key in changes or {}:
        if not isinstance(key, str):
            raise SpecError(f'changes: got the key {key!r}; keys are text such as "search.trials"')
    return {key: _value(key, value) for key, value in (changes or {}).items()}


def whole(what: str, value: object, *, least: int, most: int, example: int) -> int:
    """Return an integer, NumPy's included; raise SpecError if it is not one, or out of range."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise SpecError(
            f"{what}: got {value!r}; allowed: a whole number from {least} to {most}, for example {what}={example}"
        )
    return number


def whole_or_none(what: str, value: object, *, least: int, most: int, example: int) -> int | None:
    """Return an integer as `whole`, or None for None."""
    return None if value is None else whole(what, value, least=least, most=most, example=example)


def size(value: object) -> tuple[int, ...]:
    """Return height and width, () for None; raise SpecError for anything else."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or len(value) != 2 or not all(isinstance(side, int) for side in value):
        raise SpecError(f"size: got {value!r}; allowed: height and width in pixels, for example size=(32, 32)")
    return tuple(value)


def sweep_name(name: object) -> str:
    """Return the name of a sweep; raise SpecError if it is invalid."""
    from sweeps.spec.stored import check_name

    if not isinstance(name, str):
        raise SpecError(f'sweep name: got {name!r}; allowed: text, for example "mnist-kd"')
    return check_name(name)


def storage_text(storage: object) -> str | None:
    """Return the URL of a storage; raise SpecError if it is not text."""
    if storage is None or isinstance(storage, str):
        return storage
    raise SpecError(f'storage: got {storage!r}; allowed: a URL, for example storage="sqlite:///kd-sweeps.db"')


def path(what: str, value: object) -> Path | None:
    """Return the path of a file or folder; raise SpecError if it is not one."""
    folder = text(what, value)
    return None if folder is None else Path(folder)


def text(what: str, value: object) -> str | None:
    """Return a text, or a path as text; raise SpecError if it is neither, or empty."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise SpecError(f'{what}: got {value!r}; allowed: text or a path, for example "{_EXAMPLES.get(what, "digits")}"')


def texts(what: str, value: object) -> tuple[str, ...]:
    """Return a tuple of texts, from several or one."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return tuple(name for each in several if (name := text(what, each)) is not None)


def model(what: str, value: object) -> str | None:
    """Return the name of a model, or of the function that builds it."""
    return name_of(value, what) if callable(value) else text(what, value)


def _value(key: str, value: Any) -> Any:
    if callable(value):  # a user's loss or sampler
        return name_of(value, key)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 else value  # a number of NumPy


@contextlib.contextmanager
def worker_environment(sweep: "SweepRecord", data_dir: Path | None) -> Iterator[None]:
    """Let workers started in the block import what this process can, and find the data; fetch missing data.

    By environment variables, which children of workers inherit. A worker itself has neither the current folder nor
    folders added to this process's path.
    """
    from sweeps.spec.stored import stored_spec

    spec = stored_spec(sweep)
    spec.kind.fetch_missing(spec, data_dir)
    known = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    wanted = {"PYTHONPATH": os.pathsep.join([*(folder for folder in _homes(spec) if folder not in known), *known])}
    if data_dir is not None:
        wanted["KD_SWEEPS_DATA"] = str(data_dir.absolute())
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if value})
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _homes(spec: "Spec") -> list[str]:
    from kd.tools.code import file_of
    from sweeps.spec.stored import named_code

    homes = [_home(name.rpartition(":")[0]) for _, name in named_code(spec) if file_of(name) is None]
    return list(dict.fromkeys(home for home in homes if home))


def _home(module: str) -> str | None:
    """Return the folder from which a module is imported; None if workers have it on their path, or it is missing."""
    if module.endswith(".py"):  # a file, which workers read by its path
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # its import will report that
        return None
    if spec is None or spec.origin is None:
        return None
    folder = root_of(module, Path(spec.origin))
    return None if folder is None or folder in _installed() else str(folder)


def _installed() -> set[Path]:
    """Return the folders of installed packages and of the standard library, which PYTHONPATH should not repeat."""
    own = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    return {Path(path).absolute() for path in [*own, *site.getsitepackages(), site.getusersitepackages()]}


@contextlib.contextmanager
def without_script_folder() -> Iterator[None]:
    """Keep child processes of the block from running the parent's script.

    A spawned child runs it again to find functions there. Workers need none, and a script without `if __name__ ==
    "__main__"` would create its sweep again. Source: https://docs.python.org/3/library/multiprocessing.html, "Safe
    importing of main module".
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main

"""What workers and child processes of a `Sweep` find around them: the user's modules and data, and not his script."""

import contextlib
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sweeps.python.functions import root_of

if TYPE_CHECKING:
    from storage.records.queries import SweepRecord
    from sweeps.spec.model import Spec


@contextlib.contextmanager
def for_workers(sweep: "SweepRecord", data_dir: Path | None) -> Iterator[None]:
    """Let workers that start inside the block import what this process can, and find the data; fetch what is missing.

    By environment, as the command line does it: the workers and their children look in the same folders. A worker does
    not look into the current folder by itself, nor into those that were put on this process' path alone.

    Raises:
        kd.errors.DataError: a dataset is not here and cannot be fetched.
    """
    from sweeps.spec.model import stored

    spec = stored(sweep)
    _fetch(spec, data_dir)
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    known = [one for one in path if one]
    changed = {"PYTHONPATH": os.pathsep.join([*(one for one in _homes(spec) if one not in known), *known])}
    if data_dir is not None:
        changed["KD_SWEEPS_DATA"] = str(data_dir.absolute())
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update({name: value for name, value in changed.items() if value})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _fetch(spec: "Spec", data_dir: Path | None) -> None:
    """Fetch the datasets that are not here, with a bar: a worker would do it without a word."""
    from kd.data import sources
    from sweeps.service import datasets

    for name in (spec.role(role).dataset for role in spec.roles):
        found = sources.where(name, data_dir)
        if not found.available and found.to_fetch:
            datasets.fetch(name, data_dir=data_dir)


def _homes(spec: "Spec") -> list[str]:
    """Return the folders of the user's modules that a spec names, each once."""
    from kd.tools.code import file_of
    from sweeps.spec.code import named_code

    homes = [_home(name.rpartition(":")[0]) for _, name in named_code(spec) if file_of(name) is None]
    return list(dict.fromkeys(home for home in homes if home))


def _home(module: str) -> str | None:
    """Return the folder from which a module is imported; None where a worker has it on its path anyway, or lacks it."""
    if module.endswith(".py"):  # a file, which a worker reads where it lies
        return None
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # whoever imports it says so
        return None
    if found is None or found.origin is None:
        return None
    folder = root_of(module, Path(found.origin))
    return None if folder is None or folder in _installed() else str(folder)


def _installed() -> set[Path]:
    """Return the folders of installed packages and of Python's own modules, which no PYTHONPATH should repeat."""
    own = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    return {Path(one).absolute() for one in [*own, *site.getsitepackages(), site.getusersitepackages()]}


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Let child processes of the block leave the running script alone.

    A spawned child runs the script of its parent once more, to find functions there. Ours need none of it, and a script
    without `if __name__ == "__main__"` would create its sweep again in there.
    Source: https://docs.python.org/3/library/multiprocessing.html, "Safe importing of main module".
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main

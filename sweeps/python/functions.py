"""Turn a user's functions into the names that a spec holds."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeps.errors import SpecError


def name_of(function: Callable[..., Any], what: str) -> str:
    """Return the "package.module:function" by which another process imports a function.

    Args:
        what: the argument that it was given as, for the message.

    Raises:
        SpecError: no other process can import it: it is a lambda, is defined inside of another function or a class, or
            at a prompt, in a notebook or in the script that runs.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if not name or not module:
        raise SpecError(f"{what}: got {_shown(function)}, which is no function; {_cure(what)}")
    if module == "__main__":
        raise SpecError(
            f"{what}: got {_shown(function)} of a notebook, a prompt or the script that runs, where no worker finds it;"
            f" {_cure(what)}"
        )
    if "<lambda>" in name:
        raise SpecError(f"{what}: got a lambda, which has no name to import it by; {_cure(what)}")
    loaded = sys.modules.get(module)
    if "." in name or getattr(loaded, name, None) is not function or loaded is None or _folder(loaded) is None:
        raise SpecError(f"{what}: got {_shown(function)}, which cannot be imported as {module}:{name}; {_cure(what)}")
    return f"{module}:{name}"


def _cure(what: str) -> str:
    named = f'{what}="./my_models.py:build"' if what.isidentifier() else f'"{what}": "./my_loss.py:loss"'
    return f"put it into a file of its own and give its name, for example {named}"


def _shown(function: object) -> str:
    name = getattr(function, "__qualname__", None)
    return f"the function {name}" if name else f"a value of type {type(function).__name__}"


def _folder(module: ModuleType) -> Path | None:
    """Return the folder from which a module was imported; None where it was loaded by hand under another name."""
    origin = getattr(module, "__file__", None)
    return None if origin is None else root_of(module.__name__, Path(origin))


def root_of(module: str, origin: Path) -> Path | None:
    """Return the folder that holds "package/module.py" or "package/module/__init__.py"; None if `origin` is another."""
    path = origin.absolute()
    steps = [*path.parts[:-1], *([] if path.stem == "__init__" else [path.stem])]
    words = module.split(".")
    return Path(*steps[: -len(words)]) if steps[-len(words) :] == words else None

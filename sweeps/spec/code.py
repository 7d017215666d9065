"""Freeze the files of a user's own code in a spec, and check that they are the same where they are used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd.data.custom import kind_of
from kd.errors import CodeError, NotHere
from kd.tools import code
from sweeps.errors import SpecError
from sweeps.spec.model import Spec

__all__ = ["check_code", "frozen_code", "missing", "named_code"]


def named_code(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, name) of everything in a spec that is a user's own code, of a module or of a file."""
    named = [("search.sampler", spec.search.sampler), ("training.distillation", spec.training.distillation)]
    for role in spec.roles:
        part = spec.role(role)
        if kind_of(part.dataset) == "function":
            named.append((f"{role}.dataset", part.dataset))
        named += [(f"{role}.teacher", part.teacher), (f"{role}.student", part.student)]
    yield from ((key, name) for key, name in named if code.is_code(name))


def frozen_code(spec: Spec) -> dict[str, Any]:
    """Return what a spec keeps of the files of its code, as changes of it: absolute paths, and the sha256 of each file.

    Raises:
        SpecError: a file is missing, or is another one than the spec says already.
    """
    changes: dict[str, Any] = {}
    files: dict[str, str] = {}
    for key, name in named_code(spec):
        if code.file_of(name) is None:
            continue
        kept = code.frozen(name)
        changes[key] = kept
        try:
            files[_path(kept)] = code.hash_of(name)
        except CodeError as error:
            raise SpecError(f"{key}: got {name!r}; {error}") from None
    for path, wanted in spec.code.items():
        if (found := files.get(path)) not in (None, wanted):
            raise SpecError(
                f"code: {path} here has sha256 {str(found)[:12]}, the spec says {wanted[:12]}; remove the line to take"
                " this file"
            )
    return changes | ({"code": files} if files or spec.code else {})


def check_code(spec: Spec) -> None:
    """Check that this machine has the files that a sweep was created with.

    Raises:
        kd.errors.NotHere: one is missing here or is another one; one line. No attempt is counted for that.
    """
    by_path = {_path(name): name for _, name in named_code(spec) if code.file_of(name) is not None}
    for path, wanted in spec.code.items():
        found = code.hash_of(by_path.get(path, f"{path}:file"))
        if found != wanted:
            raise NotHere(
                f"{path} here has sha256 {found[:12]}, the sweep was created with {wanted[:12]}; copy the file it was"
                f" created with to there, or into a folder and export {code.FOLDER_VARIABLE}=FOLDER"
            )


def missing(name: str) -> str:
    """Say of a name whose code is not on this machine what is not there, and what may be meant."""
    if (path := code.file_of(name)) is not None:
        return f"there is no file {path}"
    module = name.split(":")[0]
    beside = f"; a file of this folder is named ./{module}.py:..." if Path(f"{module}.py").is_file() else ""
    return f"no module {module!r} on this machine's Python path{beside}"


def _path(name: str) -> str:
    return name.rpartition(":")[0]

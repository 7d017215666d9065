"""Specs outside Python: stored ones, TOML, differences, and the frozen files of users' code."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from kd.errors import CodeError, NotHere
from kd.tools import code
from storage import json_text
from storage.tables import SweepRecord
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import KD
from sweeps.hints import local
from sweeps.spec.model import Name, Spec, fingerprint, parse
from sweeps.spec.tables import SpecModel
from sweeps.trainers.protocol import Need
from sweeps.trainers.score import ACCURACY, Score

_HOW = f"at the same path, or in the folder that {code.FOLDER_VARIABLE} names"


def stored_spec(sweep: SweepRecord) -> Spec:
    """Return the spec of a stored sweep; raise SweepError if it was edited since."""
    digest = fingerprint(sweep.spec)
    if digest != sweep.fingerprint:
        raise SweepError(
            f"the stored spec of {sweep.name} was edited (its hash is {digest[:12]}, it was stored with "
            f"{sweep.fingerprint[:12]}); put it back, or create another sweep:"
            f" {local().line('create', 'NAME', 'my.toml')}"
        )
    return as_it_stands(sweep)


def as_it_stands(sweep: SweepRecord) -> Spec:
    """Return the spec of a stored sweep even if it was edited: for readers, not for workers."""
    return parse(sweep.spec, origin=f"sweep {sweep.name}")


def trainer_of(sweep: SweepRecord) -> str:
    """Return the name of a sweep's trainer without reading the whole spec."""
    return str(sweep.spec.get("trainer", {}).get("kind", KD))


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted keys in which two specs differ, each with its old and its new value; None: missing."""
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from changes(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the changes as lines `key: old -> new`."""
    return [f"{key}: {json.dumps(before)} -> {json.dumps(after)}" for key, before, after in changes(old, new)]


def check_name(name: str) -> str:
    """Return the name; raise SpecError if it is invalid for a sweep."""
    if not Name.fullmatch(name):
        text = name if len(name) <= 40 else f"{name[:37]}... ({len(name)} characters)"
        raise SpecError(
            f"sweep name {text!r}: allowed are 1 to 64 letters, digits, '-' and '_', the first one not '-',"
            " for example mnist-kd"
        )
    return name


def named_code(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, name) of all users' code in a spec, in modules or files."""
    named = [("trainer.kind", spec.trainer.kind), ("search.sampler", spec.search.sampler), *spec.kind.code(spec)]
    yield from ((key, name) for key, name in named if code.is_code(name))


def frozen_code(spec: Spec) -> dict[str, Any]:
    """Return changes of a spec that freeze its code files: absolute paths, and the SHA-256 of each file.

    Raise SpecError if a file is missing, or differs from a hash in the spec.
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
    files |= {str(script): code.hash_file(script) for script in spec.kind.scripts(spec)}
    for path, wanted in spec.code.items():
        if (digest := files.get(path)) not in (None, wanted):
            raise SpecError(
                f"code: {path} here has sha256 {str(digest)[:12]}, the spec says {wanted[:12]}; remove the line to take"
                " this file"
            )
    return changes | ({"code": files} if files or spec.code else {})


def check_code(spec: Spec) -> None:
    """Check that this machine has the code files that a sweep was created with.

    Raise kd.errors.NotHere if one is missing or differs: the attempt then counts against no cap.
    """
    for path, wanted in spec.code.items():
        digest = code.hash_file(Path(path))
        if digest != wanted:
            raise NotHere(
                f"{path} here has sha256 {digest[:12]}, the sweep was created with {wanted[:12]}; copy the original"
                f" file there, or into a folder and export {code.FOLDER_VARIABLE}=FOLDER; an edited file needs"
                " another sweep"
            )


def needed_code(spec: Spec) -> list[Need]:
    """Return the users' code that a worker needs on its machine."""
    needed = [_need(name) for _, name in named_code(spec)]
    scripts = [Need(str(path), _HOW, code.located(path).is_file()) for path in spec.kind.scripts(spec)]
    return list(dict.fromkeys([*needed, *scripts]))


def _need(name: str) -> Need:
    if (path := code.file_of(name)) is None:
        return Need(f"module {name.partition(':')[0]}", "on its PYTHONPATH", code.is_there(name))
    return Need(name.rpartition(":")[0], _HOW, path.is_file())


def missing(name: str) -> str:
    """Return which file or module of a name is missing here, and a suggestion."""
    if (path := code.file_of(name)) is not None:
        return f"there is no file {path}"
    module = name.split(":")[0]
    file = module if module.endswith(".py") else f"{module}.py"
    beside = f"; a file of this folder is named ./{file}:..." if Path(file).is_file() else ""
    return f"no module {module!r} on this machine's Python path{beside}"


def _path(name: str) -> str:
    return name.rpartition(":")[0]


def read(path: Path) -> Spec:
    try:
        values = values_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        make = local().line("spec", f"quick > {quote(str(path))}")
        raise SpecError(f"cannot read the spec {path}: {error.strerror}; make one with: {make}") from None
    except ValueError as error:
        raise SpecError(f"{path} is not TOML: {error} (a complete spec: {local().line('spec', 'quick')})") from None
    return parse(values, origin=str(path), new=True)


def values_of(text: str) -> dict[str, Any]:
    """Return the values of a TOML text; raise ValueError if it is invalid or nested too deeply."""
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise json_text.too_deep() from None
    json_text.check_depth(values)
    return values


def to_toml(spec: Spec) -> str:
    """Return the spec as TOML with comments; `read` returns it unchanged."""
    top = [_line(spec, key, spec.score) for key in ("preset", "seed", "note")]
    blocks = ["\n".join(top)]
    for name in type(spec).names():
        part = getattr(spec, name)
        if not isinstance(part, SpecModel):
            continue
        why = (type(part).__doc__ or "").strip().partition("\n")[0]
        blocks.append("\n".join([f"[{name}]  # {why}", *(_line(part, key, spec.score) for key in type(part).names())]))
    if spec.code:
        files = (f"{json.dumps(path, ensure_ascii=False)} = {json.dumps(digest)}" for path, digest in spec.code.items())
        blocks.append("\n".join([f"[code]  # {type(spec).model_fields['code'].description}", *files]))
    return "\n\n".join(blocks) + "\n"


def _line(part: SpecModel, key: str, score: Score) -> str:
    value = getattr(part, key)
    if isinstance(value, SpecModel | Mapping):
        value = part.model_dump(mode="json", include={key}, exclude_none=True)[key]  # TOML has no null
    text = f"{key} = {_value(value)}"
    why = type(part).model_fields[key].description or ""
    why = why.replace(ACCURACY.of_difference, score.of_difference)  # the unit of the margin
    return f"{text}  # {why}" if why else text


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_value(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    # JSON's strings, numbers and lists are valid TOML, except escapes of characters beyond \uffff.
    return json.dumps(value, ensure_ascii=False)

"""From the arguments of `Sweep.create` to what `create` of the command line takes, each checked with one line."""

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeps.errors import SpecError
from sweeps.python.functions import name_of

if TYPE_CHECKING:
    from sweeps.spec.asked import Asked

DatasetName: TypeAlias = str | os.PathLike[str]
Model: TypeAlias = str | Callable[..., Any]


def asked(
    *,
    dataset: DatasetName | None,
    source: DatasetName | None,
    target: DatasetName | Sequence[DatasetName] | None,
    preset: str | None,
    spec: str | os.PathLike[str] | None,
    changes: Mapping[str, Any] | None,
    student: Model | None,
    teacher: Model | None,
) -> "Asked":
    """Return what was asked for; arguments as `Sweep.create`.

    Raises:
        SpecError: an argument has another type than it may have, or two of them exclude each other.
    """
    from sweeps.spec.asked import Asked
    from sweeps.spec.presets import preset as named
    from sweeps.spec.toml import read

    if preset is not None and spec is not None:
        raise SpecError(f"got preset={preset!r} and spec={os.fspath(spec)!r}; give one of them")
    if preset is not None and not isinstance(preset, str):
        raise SpecError(f"preset: got {preset!r}; allowed: 'tiny', 'quick', 'compare' or 'full'")
    if not isinstance(changes, Mapping | None):
        raise SpecError(f'changes: got {changes!r}; write them as {{"search.trials": 20}}')
    base = None if preset is None else named(preset)
    several = target if isinstance(target, Sequence) and not isinstance(target, str) else (target,)
    return Asked(
        base=base if spec is None else read(Path(_text("spec", spec) or "")),
        changes={_key(key): _value(key, value) for key, value in (changes or {}).items()},
        source=_text("source", source),
        targets=tuple(text for one in several if (text := _text("target", one)) is not None),
        dataset=_text("dataset", dataset),
        student=_model("student", student),
        teacher=_model("teacher", teacher),
    )


def whole(what: str, value: object, *, least: int, most: int, example: int) -> int:
    """Return a whole number, of NumPy too; raise SpecError if it is none, or out of range."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise SpecError(
            f"{what}: got {value!r}; allowed: a whole number from {least} to {most}, for example {what}={example}"
        )
    return number


def sweep_name(name: object) -> str:
    """Return the name of a sweep; raise SpecError if no sweep can have it."""
    from sweeps.spec.model import check_name

    if not isinstance(name, str):
        raise SpecError(f'sweep name: got {name!r}; allowed: text, for example "mnist-kd"')
    return check_name(name)


def storage_text(storage: object) -> str | None:
    """Return the URL of a storage as it was given; raise SpecError if it is no text."""
    if storage is None or isinstance(storage, str):
        return storage
    raise SpecError(f'storage: got {storage!r}; allowed: a URL, for example storage="sqlite:///kd-sweeps.db"')


def folder(what: str, value: object) -> Path | None:
    """Return the path of a folder; raise SpecError if that is no path."""
    text = _text(what, value)
    return None if text is None else Path(text)


def _text(what: str, value: object) -> str | None:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    examples = {
        "spec": "my.toml",
        "data_dir": "data",
        "report": "my-report",
        "student": "mlp-800",
        "teacher": "cnn-small",
    }
    raise SpecError(f'{what}: got {value!r}; allowed: text or a path, for example "{examples.get(what, "digits")}"')


def _model(what: str, value: object) -> str | None:
    return name_of(value, what) if callable(value) else _text(what, value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise SpecError(f'changes: got the key {key!r}; keys are text such as "search.trials"')


def _value(key: str, value: Any) -> Any:
    if callable(value):  # a loss or a sampler of the user's own
        return name_of(value, key)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 else value  # a number of NumPy

"""The spec as a TOML file, for people to read and to edit."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from storage import json_text
from sweeps.errors import SpecError
from sweeps.hints import here
from sweeps.spec.model import Spec, parse


def read(path: Path) -> Spec:
    """Read the spec in a TOML file."""
    try:
        values = values_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(
            f"cannot read the spec {path}: {error.strerror}; make one with: {here().spec(f'quick > {path}')}"
        ) from None
    except ValueError as error:
        raise SpecError(f"{path} is not TOML: {error}; a complete one: {here().spec('quick')}") from None
    return parse(values, origin=str(path), new=True)


def values_of(text: str) -> dict[str, Any]:
    """Return the values of a TOML text.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise json_text.too_deep() from None
    json_text.check_depth(values)
    return values


def to_toml(spec: Spec) -> str:
    """Return the spec as TOML with a comment on every key that needs one; `read` gives it back unchanged."""
    top = [_line(spec, key) for key in ("preset", "seed", "note")]
    blocks = ["\n".join(top)]
    for name in Spec.model_fields:
        part = getattr(spec, name)
        if not isinstance(part, BaseModel):
            continue
        why = (type(part).__doc__ or "").strip().partition("\n")[0]
        blocks.append("\n".join([f"[{name}]  # {why}", *(_line(part, key) for key in type(part).model_fields)]))
    if spec.code:
        files = (f"{json.dumps(path, ensure_ascii=False)} = {json.dumps(digest)}" for path, digest in spec.code.items())
        blocks.append("\n".join([f"[code]  # {Spec.model_fields['code'].description}", *files]))
    return "\n\n".join(blocks) + "\n"


def _line(part: BaseModel, key: str) -> str:
    text = f"{key} = {_value(getattr(part, key))}"
    why = type(part).model_fields[key].description
    return f"{text}  # {why}" if why else text


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_value(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    # JSON's strings, numbers and lists of them are TOML as well, save its escapes of characters beyond \uffff.
    return json.dumps(value, ensure_ascii=False)

"""Typed values as JSON and back: what the service writes and its clients read.

Numbers that JSON does not have - the NaN of a diverged training - are the strings "NaN", "Infinity" and "-Infinity".
"""

import json
import math
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from storage import json_text
from sweeps.errors import SweepError


def encode(kind: Any, value: Any) -> bytes:
    """Return a value of a type as JSON.

    Args:
        kind: dataclass, pydantic model, or a list of them.
    """
    # What was not set is not written: a model that comes back writes the same again.
    plain = _adapter(kind).dump_python(value, mode="json", exclude_unset=True)
    return json.dumps(_sendable(plain), ensure_ascii=False, separators=(",", ":")).encode()


def decode(kind: Any, text: bytes) -> Any:
    """Return the value of a type that `encode` wrote; what else stands beside its fields is passed over.

    Raises:
        SweepError: it is no such value.
    """
    try:
        return _adapter(kind).validate_python(json_text.parse(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SweepError(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise SweepError(f"no JSON: {error}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sendable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # half a character, as stdout spells it
    if isinstance(value, dict):
        return {key: _sendable(inner) for key, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, (list, tuple)) else value

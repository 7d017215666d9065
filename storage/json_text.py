"""Parse JSON that may have been edited; specs and clients use it, too, without a database."""

import json
from typing import Any

import pydantic_core

MOST_LEVELS = 100  # of nesting: stored values have five, and recursive code must terminate


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text; ValueError if it is invalid or nested too deeply."""
    try:
        value = pydantic_core.from_json(text)  # bit-identical to json.loads, in a third of the time
    except ValueError:
        try:
            value = json.loads(text)  # locates the error, and accepts lone surrogates
        except RecursionError:
            raise too_deep() from None
    opened = sum(map(text.count, (b"[", b"{"))) if isinstance(text, bytes) else text.count("[") + text.count("{")
    if opened > MOST_LEVELS:
        check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raise ValueError if a value is nested more than MOST_LEVELS deep."""
    level = [value]
    for _ in range(MOST_LEVELS):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level = [item for items in inner for item in items]
    if level:
        raise too_deep()


def too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_LEVELS} levels deep")

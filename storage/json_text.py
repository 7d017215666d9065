"""Parse JSON that may have been edited; apart, since specs and clients read JSON without a database."""

import json
from typing import Any

import pydantic_core

# Of values within values. What we store has five; whatever walks through a value has to come to its end.
MOST_LEVELS = 100


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text; ValueError if it is none, or is nested too deeply."""
    try:
        value = pydantic_core.from_json(text)  # the same to the last bit, in a third of the time
    except ValueError:
        try:
            value = json.loads(text)  # which says where the fault is, and takes half of a surrogate pair as well
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

"""What differs between the specs of several sweeps: only the keys that do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.analysis.findings import Findings
from sweeps.spec.model import difference

_NO_MATTER = ("preset", "note")  # where a spec came from, and what people wrote to it, trains nothing


@dataclass(frozen=True)
class Differing:
    """A key of the spec, dotted, and its value in each sweep, in their order; None where a sweep has no such table."""

    key: str
    values: tuple[Any, ...]


def differing(sweeps: Sequence[Findings]) -> tuple[Differing, ...]:
    """Return the keys in which the specs are not all the same, in the order of a spec.

    A table that one of them lacks, such as a target, is one key: all sweeps then show its dataset.
    """
    specs = [one.spec.model_dump(mode="json") for one in sweeps]
    found = {line.partition(": ")[0] for other in specs[1:] for line in difference(specs[0], other)}
    ordered = dict.fromkeys(key for spec in specs for key in _in_order(spec))
    keys = [key for key in ordered if key in found and key not in _NO_MATTER]
    whole = tuple(f"{key}." for key in keys)
    shown = [key for key in keys if not key.startswith(whole) and not _follows(key, found)]
    return tuple(Differing(key, tuple(_value(spec, key) for spec in specs)) for key in shown)


def _in_order(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return every dotted key, a table before what is in it."""
    keys: list[str] = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        keys += _in_order(value, f"{prefix}{key}.") if isinstance(value, Mapping) else []
    return keys


def _follows(key: str, found: set[str]) -> bool:
    """Return whether a key differs because the dataset does: its hash."""
    table, _, last = key.rpartition(".")
    return last == "content_hash" and f"{table}.dataset" in found


def _value(spec: Mapping[str, Any], dotted: str) -> Any:
    value: Any = spec
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value["dataset"] if isinstance(value, Mapping) and "dataset" in value else value

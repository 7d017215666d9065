"""What an audit found, for people and as plain values."""

from dataclasses import asdict
from typing import Any

from storage.audit.audit import Audit

_STATES = ("planned", "done", "failed", "cancelled", "skipped", "waiting", "running")


def values(name: str, found: Audit) -> dict[str, Any]:
    """Everything of it as plain values, for the formats that programs read."""
    stages = {stage.stage: {state: getattr(stage, state) for state in _STATES} for stage in found.stages}
    texts = asdict(found) | {"stages": stages}
    return {"sweep": name, "planned": found.planned, "accounted": found.accounted, **texts}


def describe(found: Audit) -> str:
    """A table of the tasks per stage, then a line for each thing that was found, then the sum of it."""
    lines = ["".join(name.ljust(11) for name in ("stage", *_STATES)).rstrip()]
    for stage in found.stages:
        row = (stage.stage, *(getattr(stage, state) for state in _STATES))
        lines.append("".join(str(value).ljust(11) for value in row).rstrip())
    lines.append("")
    for kind, texts in (("violation", found.violations), ("warning", found.warnings), ("note", found.notes)):
        lines += [f"{kind}: {' '.join(text.split())}" for text in texts]
    lines.append(
        f"audit: {found.planned} planned, {found.accounted} accounted for,"
        f" {_count(found.violations, 'violation')}, {_count(found.warnings, 'warning')}"
    )
    return "\n".join(lines)


def _count(texts: list[str], noun: str) -> str:
    return f"{len(texts)} {noun}{'' if len(texts) == 1 else 's'}"

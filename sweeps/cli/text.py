"""What an audit found, for people and as plain values."""

from collections.abc import Sequence
from typing import Any

from storage.audit.audit import Audit
from storage.audit.findings import Finding
from sweeps.hints import ANYWHERE, Commands, here

_STATES = ("planned", "done", "failed", "cancelled", "skipped", "waiting", "running")


def values(name: str, audit: Audit) -> dict[str, Any]:
    """Return everything of an audit as plain values, for the formats that programs read."""
    return {
        "sweep": name,
        "planned": audit.planned,
        "accounted": audit.accounted,
        "stages": {stage.stage: {state: getattr(stage, state) for state in _STATES} for stage in audit.stages},
        "violations": _lines(audit.violations, ANYWHERE),
        "warnings": _lines(audit.warnings, ANYWHERE),
        "notes": _lines(audit.notes, ANYWHERE),
    }


def describe(audit: Audit) -> str:
    """Return a table of the tasks per stage, a line for each thing that was found, and the sum of it."""
    lines = ["".join(name.ljust(11) for name in ("stage", *_STATES)).rstrip()]
    for stage in audit.stages:
        row = (stage.stage, *(getattr(stage, state) for state in _STATES))
        lines.append("".join(str(value).ljust(11) for value in row).rstrip())
    lines.append("")
    for kind, findings in (("violation", audit.violations), ("warning", audit.warnings), ("note", audit.notes)):
        lines += [f"{kind}: {' '.join(text.split())}" for text in _lines(findings, here())]
    lines.append(
        f"audit: {audit.planned} planned, {audit.accounted} accounted for,"
        f" {_count(audit.violations, 'violation')}, {_count(audit.warnings, 'warning')}"
    )
    return "\n".join(lines)


def _lines(findings: Sequence[Finding], commands: Commands) -> list[str]:
    return [commands.after(finding.text, finding.next_steps) for finding in findings]


def _count(findings: Sequence[Finding], noun: str) -> str:
    return f"{len(findings)} {noun}{'' if len(findings) == 1 else 's'}"

"""What an audit found, for people and as plain values; and tables of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from storage.audit.audit import Audit, StageAudit
from storage.audit.checks import Finding
from sweeps.hints import ANYWHERE, Commands, here
from sweeps.plan.states import UNAVAILABLE, shown_stage
from sweeps.terminal import number_of

_STATES = ("planned", "done", "failed", UNAVAILABLE, "cancelled", "skipped", "waiting", "running")


def values(name: str, audit: Audit, unavailable: Mapping[str, int]) -> dict[str, Any]:
    """Return everything of an audit as plain values, for the formats that programs read.

    Args:
        unavailable: how many tasks of each stage cannot run here; for the audit they have failed.
    """
    return {
        "sweep": name,
        "planned": audit.planned,
        "accounted": audit.accounted,
        "stages": {stage.stage: _counts(stage, unavailable) for stage in audit.stages},
        "violations": _lines(audit.violations, ANYWHERE),
        "warnings": _lines(audit.warnings, ANYWHERE),
        "notes": _lines(audit.notes, ANYWHERE),
    }


def _counts(stage: StageAudit, unavailable: Mapping[str, int]) -> dict[str, int]:
    missing = unavailable.get(stage.stage, 0)
    counts = {state: missing if state == UNAVAILABLE else getattr(stage, state) for state in _STATES}
    return counts | {"failed": stage.failed - missing}


def describe(audit: Audit, unavailable: Mapping[str, int]) -> str:
    """Return a table of the tasks per stage, a line for each thing that was found, and the sum of it."""
    shown = [state for state in _STATES if state != UNAVAILABLE or any(unavailable.values())]
    rows = [("stage", *shown)]
    there = [stage.stage for stage in audit.stages]
    for stage in audit.stages:
        counts = _counts(stage, unavailable)
        rows.append((shown_stage(stage.stage, there), *(str(counts[state]) for state in shown)))
    lines = table(rows)
    lines.append("")
    for kind, findings in (("violation", audit.violations), ("warning", audit.warnings), ("note", audit.notes)):
        lines += [f"{kind}: {' '.join(text.split())}" for text in _lines(findings, here())]
    lines.append(
        f"audit: {audit.planned} planned, {audit.accounted} accounted for,"
        f" {number_of(len(audit.violations), 'violation')}, {number_of(len(audit.warnings), 'warning')}"
    )
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with their cells under each other, as narrow as 80 columns ask for."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = "  " if sum(widths) + 2 * len(widths) <= 82 else " "
    return [gap.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _lines(findings: Sequence[Finding], commands: Commands) -> list[str]:
    return [commands.after(finding.text, finding.next_steps) for finding in findings]

"""A report as plain values, for other programs: what `report -f json` prints."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sweeps.analysis.comparison import Row
from sweeps.analysis.findings import Findings
from sweeps.analysis.surfaces import Surface
from sweeps.plan.selection import Confirmed
from sweeps.report.answer import badge, headline
from sweeps.spec.point import Point
from sweeps.stats.response import Top


def json_data(findings: Findings) -> dict[str, Any]:
    """Return the findings as values that JSON has, with the names and the units of `sweeps.analysis.findings`."""
    return {
        "sweep": findings.name,
        "headline": headline(findings),
        "verdict": badge(findings).text,
        "verdicts": [asdict(verdict) for verdict in findings.verdicts],
        "spec": findings.spec.as_dict(),
        "fingerprint": findings.fingerprint,
        "answer_hash": findings.answer_hash,
        "numerics": list(findings.provenance.numerics),
        "best": _confirmed(findings.confirmed, "source"),
        "native": _confirmed(findings.confirmed, "target"),
        "surfaces": [_surface(surface) for surface in findings.surfaces],
        "controls": [asdict(control) | {"explains": control.explains} for control in findings.controls],
        "outer": {target.role: [asdict(group) for group in target.groups] for target in findings.outer},
        "rows": [_row(row) for row in findings.rows],
        "differences": [asdict(item) for item in findings.differences],
    }


def _confirmed(confirmed: Mapping[str, Confirmed], role: str) -> dict[str, Any] | None:
    return confirmed[role].as_json() if role in confirmed else None


def _surface(surface: Surface) -> dict[str, Any]:
    return {
        "role": surface.role,
        "dataset": surface.dataset,
        "points": [
            trial.point.as_dict() | {"accuracy": trial.accuracy, "number": trial.number, "shared": trial.shared}
            for trial in surface.trials
        ],
        "best": None if surface.best is None else _pair(surface.best),
        "tied": [_pair(point) for point in surface.tied],
        "top": None if surface.top is None else _top(surface.top),
        "optimism": surface.optimism,
        "importances": dict(surface.importances),
    }


def _top(top: Top) -> dict[str, Any]:
    return {name: getattr(top, name) for name in ("share", "low", "high", "tolerance", "word")}


def _pair(point: Point) -> list[float]:
    return [*point.as_dict().values()]


def _row(row: Row) -> dict[str, Any]:
    measured = {} if row.measured is None else row.measured.model_dump(exclude_unset=True)
    return asdict(row) | {"measured": measured}

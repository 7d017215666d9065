"""The comparison as a page of Markdown. The numbers come from `comparison`; here they become text."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.analysis.analysis import Analysis
from sweeps.analysis.comparison import Comparison, Row
from sweeps.analysis.load import analyse
from sweeps.plan.names import best_of
from sweeps.report import cost_section
from sweeps.report.markdown_tables import number, table
from sweeps.report.sentences import explained, headline, identified, interval, looked, sentence
from sweeps.stats.estimates import Estimate

_REASON = 110  # characters of a reason that a table shows

HEAD = (
    "method",
    "dataset",
    "validation %",
    "test %",
    "parameters",
    "file KB",
    "latency ms p50",
    "train s",
    "+ teacher and search s",
    "status",
)


def report(engine: sqlalchemy.Engine, sweep: SweepRecord) -> str:
    """The report of a sweep as Markdown; unfinished parts say so. Reads only.

    Raises:
        NoResultsYet: no task has finished.
    """
    return "\n".join(lines(analyse(engine, sweep)))


def lines(found: Analysis, *, extra: Sequence[str] = ()) -> list[str]:
    """The report, line by line. First the answer, then the table, at the foot where it all comes from.

    Args:
        extra: sections of a written report that `report` on the terminal has no time for.
    """
    spec, comparison = found.spec, found.comparison
    targets = ", ".join(spec.role(role).dataset for role in spec.targets)
    page = [f"# {comparison.sweep.name}: {spec.source.dataset} -> {targets}", ""]
    if spec.note:
        page += [f"Note: {' '.join(spec.note.split())}", ""]
    page += [*answer(found), "", *_selected(found)]
    page += [*comparison_table(comparison), ""]
    differences = ((item.name, item.dataset, interval(item.points)) for item in comparison.differences())
    page += table(("test accuracy, points, paired by seed", "dataset", "difference"), differences)
    return [
        *page,
        "",
        *_controls(found),
        *_outer(found),
        *cost_section.section(found),
        *extra,
        *_provenance(comparison),
    ]


def answer(found: Analysis) -> list[str]:
    """The verdict in plain words and what it rests on: the beginning of every report, and the dashboard's note."""
    name = found.comparison.sweep.name
    surfaces = found.surfaces()
    paragraphs = [f"**{sentence(found, verdict, name)}**" for verdict in found.verdicts()]
    if surfaces[0].identified is False:
        paragraphs.insert(0, f"**Not identified on the source.** {identified(surfaces.pop(0))}.")
    points = [*map(identified, surfaces), *explained(found.controls()), looked(found)]
    return [*(line for text in paragraphs for line in (text, "")), *(f"- {point}" for point in points)]


def comparison_table(comparison: Comparison) -> list[str]:
    """The comparison table, and what its numbers are."""
    return [
        *table(HEAD, map(cells, comparison.rows())),
        "",
        "Mean over seeds with its 95 % t interval. Latency: one image, one thread.",
    ]


def report_data(engine: sqlalchemy.Engine, sweep: SweepRecord) -> dict[str, Any]:
    """The same as plain values, for -f json."""
    found = analyse(engine, sweep)
    return {
        "sweep": sweep.name,
        "verdict": headline(found, sweep.name),
        "verdicts": [asdict(verdict) for verdict in found.verdicts()],
        "spec": found.spec.as_dict(),
        "fingerprint": sweep.fingerprint,
        "best": found.comparison.selected("confirm.best"),
        "native": found.comparison.selected("native.best"),
        "surfaces": [asdict(surface) | {"identified": surface.identified} for surface in found.surfaces()],
        "controls": [asdict(control) | {"explains": control.explains} for control in found.controls()],
        "outer": {role: [asdict(one) for one in found.outer(role)] for role in found.spec.targets},
        "rows": [asdict(row) for row in found.comparison.rows()],
        "differences": [asdict(item) for item in found.comparison.differences()],
    }


def _selected(found: Analysis) -> list[str]:
    page = []
    for role in found.spec.roles:
        dataset = found.spec.role(role).dataset
        title = "best" if role == "source" else "native"
        chosen = found.comparison.selected(best_of(role))
        if chosen is None:
            page.append(f"- `{title}` (tuned on {dataset}): not confirmed yet")
            continue
        accuracy = _percent(Estimate(chosen["mean"], chosen["low"], chosen["high"], chosen["n"]))
        page.append(
            f"- `{title}` (tuned on {dataset}): T = {chosen['temperature']:.4g}, alpha = {chosen['alpha']:.4g}; "
            f"validation {accuracy}"
        )
    return [*page, f"- loss: `{LOSS_FORMULA}`; alpha weighs the labels", ""]


def _controls(found: Analysis) -> list[str]:
    """What else was tried in the teacher's place; nothing where no control ran."""
    controls = found.controls()
    if not controls:
        return []
    rows = ((one.arm, one.dataset, interval(one.gain), interval(one.beyond)) for one in controls)
    head = ("control", "dataset", "control - scratch", "best - control")
    return ["## Controls", "", *table(head, rows), ""]


def _outer(found: Analysis) -> list[str]:
    """The regret of every teacher and search; nothing where there is one of each."""
    if found.spec.outer.teachers * found.spec.outer.searches == 1:
        return []
    page = ["## Other teachers, other searches", ""]
    for role in found.spec.targets:
        dataset = found.spec.role(role).dataset
        page += table(
            ("teacher and search", "T", "alpha", f"regret on {dataset}, over seeds"),
            (
                (one.group, f"{one.temperature:.3g}", f"{one.alpha:.3g}", interval(one.regret))
                for one in found.outer(role)
            ),
        )
        over = found.over_teachers(role)
        page += ["", f"Over teachers, the searches of each averaged: regret {interval(over)}, n = teachers.", ""]
    return page


def cells(row: Row) -> list[str]:
    """A row of the table as text, one cell under each of HEAD."""
    return [
        f"{row.method} ({row.detail})" if row.detail else row.method,
        row.dataset,
        _percent(row.validation),
        _percent(row.test),
        number(row.parameters, ",.0f"),
        number(row.measured.get("bytes"), ",.0f", 1e-3),
        number(row.measured.get("latency_ms_p50"), ".2f"),
        number(row.train_s, ".1f"),
        number(row.shared_s, ".0f"),
        textwrap.shorten(row.status, _REASON, placeholder=" ..."),  # `trials` has all of it
    ]


def _percent(value: Estimate | None) -> str:
    """97.41 ± 0.12 (n=10); n=1 has no interval."""
    if value is None:
        return ""
    if value.high is None:
        return f"{100 * value.mean:.2f} (n=1)"
    return f"{100 * value.mean:.2f} ± {100 * (value.high - value.mean):.2f} (n={value.n})"


def _provenance(found: Comparison) -> list[str]:
    done = [task for task in found.tasks if task.state == "done"]
    page = [
        "## Provenance",
        "",
        f"- spec {found.sweep.fingerprint[:12]}, seed {found.spec.seed}, revision {found.sweep.revision}",
    ]
    for role in map(found.spec.role, found.spec.roles):
        data = next((t.outcome["data"] for t in done if t.outcome and t.outcome.get("dataset") == role.dataset), None)
        if data is not None:
            page.append(
                f"- {role.dataset}: {role.images} training images; from {data['origin']}; "
                f"content {data['content_hash'][:12]}, split {data['split_hash'][:12]}"
            )
    for task in done:
        weights = (task.outcome or {}).get("weights")
        if weights:
            page.append(f"- weights of {task.key}: " + ", ".join(weights.values()))
    page += [f"- {text}" for text in dict.fromkeys(_machine(task) for task in done)]
    wall = max(t.finished_at or 0 for t in done) - min(t.started_at or 0 for t in done)
    work = sum((t.finished_at or 0) - (t.started_at or 0) for t in done)
    return [
        *page,
        f"- {len(done)} of {len(found.tasks)} tasks done; {wall:.0f} s from first to last, {work:.0f} s of work",
    ]


def _machine(task: TaskRecord) -> str:
    made = (task.outcome or {}).get("provenance", {})
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items() if version)
    commit = made.get("git_commit") or "not from a checkout"
    machine = f"{made.get('cpu')}, {made.get('cores')} cores, {made.get('threads')} thread(s) per worker"
    return f"{machine}; {versions}; commit {commit}"

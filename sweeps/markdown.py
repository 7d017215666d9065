"""The comparison as a page of Markdown. The numbers come from `comparison`; here they become text."""

from dataclasses import asdict
from typing import Any

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage import records
from storage.records import SweepRecord, TaskRecord
from sweeps.answer import confirmed
from sweeps.comparison import Comparison, Difference, Row
from sweeps.errors import NothingYet
from sweeps.statistics import Estimate

_HEAD = (
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
        NothingYet: no task has finished.
    """
    found = _comparison(engine, sweep)
    spec = found.spec
    lines = [f"# {sweep.name}: {spec.source.dataset} -> {spec.target.dataset}", ""]
    if spec.note:
        lines += [f"**{spec.note}**", ""]
    lines += _selected(engine, sweep, found)
    lines += ["| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in found.rows()]
    lines += ["", "Mean over seeds with its 95 % t interval. Latency: one image, one thread.", ""]
    lines += ["| test accuracy, points, paired by seed | dataset | difference |", "| --- | --- | --- |"]
    lines += [f"| {item.name} | {item.dataset} | {_points(item)} |" for item in found.differences()]
    lines += ["", *_provenance(found)]
    return "\n".join(lines)


def report_data(engine: sqlalchemy.Engine, sweep: SweepRecord) -> dict[str, Any]:
    """The same as plain values, for -f json."""
    found = _comparison(engine, sweep)
    return {
        "sweep": sweep.name,
        "spec": found.spec.as_dict(),
        "fingerprint": sweep.fingerprint,
        "best": confirmed(engine, sweep),
        "native": confirmed(engine, sweep, "native.best"),
        "rows": [asdict(row) for row in found.rows()],
        "differences": [asdict(item) for item in found.differences()],
    }


def _comparison(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Comparison:
    found = Comparison(engine, sweep)
    if not any(task.state == "done" for task in found.tasks):
        running = len(records.running(engine, sweep.id))
        raise NothingYet(
            f"nothing of {sweep.name} has finished yet ({running} tasks running, {len(found.tasks)} planned); "
            f"go on with: kd-sweeps launch {sweep.name}"
        )
    return found


def _selected(engine: sqlalchemy.Engine, sweep: SweepRecord, found: Comparison) -> list[str]:
    lines = []
    for title, name, role in (("best", "confirm.best", "source"), ("native", "native.best", "target")):
        dataset = found.spec.role(role).dataset
        chosen = confirmed(engine, sweep, name)
        if chosen is None:
            lines.append(f"- `{title}` (tuned on {dataset}): not confirmed yet")
            continue
        accuracy = _percent(Estimate(chosen["mean"], chosen["low"], chosen["high"], chosen["n"]))
        lines.append(
            f"- `{title}` (tuned on {dataset}): T = {chosen['temperature']:.4g}, alpha = {chosen['alpha']:.4g}; "
            f"validation {accuracy}"
        )
    return [*lines, f"- loss: `{LOSS_FORMULA}`; alpha weighs the labels", ""]


def _cells(row: Row) -> list[str]:
    return [
        f"{row.method} ({row.detail})" if row.detail else row.method,
        row.dataset,
        _percent(row.validation),
        _percent(row.test),
        "" if row.parameters is None else f"{row.parameters:,}",
        "" if row.file_bytes is None else f"{row.file_bytes / 1000:,.0f}",
        "" if row.latency_ms_p50 is None else f"{row.latency_ms_p50:.2f}",
        "" if row.train_s is None else f"{row.train_s:.1f}",
        "" if row.shared_s is None else f"{row.shared_s:.0f}",
        row.status.replace("|", "/"),
    ]


def _percent(value: Estimate | None) -> str:
    """97.41 ± 0.12 (n=10); n=1 has no interval."""
    if value is None:
        return ""
    if value.high is None:
        return f"{100 * value.mean:.2f} (n=1)"
    return f"{100 * value.mean:.2f} ± {100 * (value.high - value.mean):.2f} (n={value.n})"


def _points(item: Difference) -> str:
    value = item.points
    if value is None:
        return "not yet"
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f} (n=1, no interval)"
    return f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}] (n={value.n})"


def _provenance(found: Comparison) -> list[str]:
    done = [task for task in found.tasks if task.state == "done"]
    lines = [
        "## Provenance",
        "",
        f"- spec {found.sweep.fingerprint[:12]}, seed {found.spec.seed}, revision {found.sweep.revision}",
    ]
    for role in (found.spec.source, found.spec.target):
        data = next((t.outcome["data"] for t in done if t.outcome and t.outcome.get("dataset") == role.dataset), None)
        if data is not None:
            lines.append(
                f"- {role.dataset}: {role.images} training images; from {data['origin']}; "
                f"content {data['content_hash'][:12]}, split {data['split_hash'][:12]}"
            )
    for task in done:
        weights = (task.outcome or {}).get("weights")
        if weights:
            lines.append(f"- weights of {task.payload['method']}: " + ", ".join(weights.values()))
    lines += [f"- {text}" for text in dict.fromkeys(_machine(task) for task in done)]
    wall = max(t.finished_at or 0 for t in done) - min(t.started_at or 0 for t in done)
    work = sum((t.finished_at or 0) - (t.started_at or 0) for t in done)
    return [
        *lines,
        f"- {len(done)} of {len(found.tasks)} tasks done; {wall:.0f} s from first to last, {work:.0f} s of work",
    ]


def _machine(task: TaskRecord) -> str:
    made = (task.outcome or {}).get("provenance", {})
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items() if version)
    commit = made.get("git_commit") or "not from a checkout"
    machine = f"{made.get('cpu')}, {made.get('cores')} cores, {made.get('threads')} thread(s) per worker"
    return f"{machine}; {versions}; commit {commit}"

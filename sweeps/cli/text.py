"""Write answers as text, as tables, and in machine-readable formats.

Every command imports this, even for `--help`, so it imports neither specs nor databases.
"""

import csv
import io
import json
from collections.abc import Container, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sweeps.errors import SpecError
from sweeps.hints import PORTABLE, Commands, local
from sweeps.terminal import HELD, WIDTH, columns, duration, escape_control_chars, grey, hold, number_of, wrap, wrapped

if TYPE_CHECKING:
    from storage.audit.audit import Audit, StageAudit
    from storage.audit.checks import Finding
    from sweeps.query.best import Best
    from sweeps.query.status import Status

_STATES = ("planned", "done", "failed", "unavailable", "cancelled", "skipped", "waiting", "running")
_LABEL = 12  # characters; the name of a searched parameter may be longer
_SILENT_S = 30.0  # without a step, before `status` mentions it
# The columns of `trials` for people; other formats have all. On a narrow terminal some names are shortened, then
# columns are dropped one by one.
_POINT = ("task", "state", "trial", "dataset", "temperature", "alpha")
_RESULT = ("score", "test_accuracy", "train_s", "cpu_s")
_SHORT = {"temperature": "T", "test_accuracy": "test"}
_LEFT_OUT = ("cpu_s", "train_s", "trial", "dataset")


class Format(StrEnum):
    """The values of -f."""

    table = "table"
    json = "json"
    yaml = "yaml"
    csv = "csv"
    value = "value"


def render(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any], form: Format, field: str | None = None) -> str:
    """Write one record (a mapping) or several (a sequence) as text.

    Args:
        field: only this key; dots for nested keys, as in candidates.0.mean.

    Raises:
        SpecError: no such field; the message lists the fields.
    """
    data: Any = rows
    if field is not None:
        data = [_pick(row, field) for row in rows] if isinstance(rows, Sequence) else _pick(rows, field)
        if form in (Format.table, Format.csv, Format.value):
            values = data if isinstance(data, list) else [data]
            return "\n".join(_cell(value) for value in values)
    if form is Format.json:
        return json.dumps(data, indent=2, ensure_ascii=False)
    if form is Format.yaml:
        import yaml

        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip()
    records: Sequence[Mapping[str, Any]] = [rows] if isinstance(rows, Mapping) else rows
    if form is Format.csv:
        return _csv(records)
    if form is Format.value:
        return "\n".join(" ".join(_cell(value) for value in row.values()) for row in records)
    if not records:
        return "(none)"
    return table(_cells(records, list(records[0])))


def _pick(row: Mapping[str, Any], field: str) -> Any:
    value: Any = row
    for key in field.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise SpecError(f"no field {field!r}; fields: {', '.join(map(str, row))}")
    return value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def _cells(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], heads: Mapping[str, str] = MappingProxyType({})
) -> list[list[str]]:
    """Return a header and these columns of the rows as text, without empty columns.

    heads: titles of columns where they differ from the names.
    """
    filled = [name for name in names if any(row[name] not in (None, "") for row in rows)]
    return [[heads.get(name, name) for name in filled], *([_short(row[name]) for name in filled] for row in rows)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(value)


def audit_values(name: str, audit: "Audit", unavailable: Mapping[str, int]) -> dict[str, Any]:
    """Return an audit as plain values, for machine-readable formats.

    Args:
        unavailable: number of tasks per stage that cannot run here; the audit counts them as failed.
    """
    return {
        "sweep": name,
        "planned": audit.planned,
        "accounted": audit.accounted,
        "stages": {stage.stage: _counts(stage, unavailable) for stage in audit.stages},
        "violations": _finding_lines(audit.violations, PORTABLE),
        "warnings": _finding_lines(audit.warnings, PORTABLE),
        "notes": _finding_lines(audit.notes, PORTABLE),
    }


def _counts(stage: "StageAudit", unavailable: Mapping[str, int]) -> dict[str, int]:
    missing = unavailable.get(stage.stage, 0)
    counts = {state: missing if state == "unavailable" else getattr(stage, state) for state in _STATES}
    return counts | {"failed": stage.failed - missing}


def describe_audit(audit: "Audit", unavailable: Mapping[str, int]) -> str:
    """Return a table of the tasks per stage, a line per finding, and the totals."""
    from sweeps.plan.phases import display_stage

    states = [state for state in _STATES if state != "unavailable" or any(unavailable.values())]
    rows = [("stage", *states)]
    stages = [stage.stage for stage in audit.stages]
    for stage in audit.stages:
        counts = _counts(stage, unavailable)
        rows.append((display_stage(stage.stage, stages), *(str(counts[state]) for state in states)))
    lines = [table(rows), ""]
    for kind, findings in (("violation", audit.violations), ("warning", audit.warnings), ("note", audit.notes)):
        lines += [f"{kind}: {' '.join(text.split())}" for text in _finding_lines(findings, local())]
    lines.append(
        f"audit: {audit.planned} planned, {audit.accounted} accounted for,"
        f" {number_of(len(audit.violations), 'violation')}, {number_of(len(audit.warnings), 'warning')}"
    )
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]], *, grey_rows: Container[int] = ()) -> str:
    """Align rows, header first, in columns; wrap cells where the terminal is too narrow.

    Args:
        grey_rows: numbers of the rows that a terminal shows in grey; the header is 0.
    """
    # rich drops some control characters and takes the others to have no width.
    rows = [[escape_control_chars(cell) for cell in row] for row in rows]
    wide, lines = columns(), _aligned(rows)
    if wide is None or max(map(len, lines)) <= wide:
        return "\n".join(grey(line) if number in grey_rows else line for number, line in enumerate(lines))
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    grid = Table.grid(*(Column(overflow="fold") for _ in rows[0]), padding=(0, 1))
    for number, row in enumerate(rows):
        cells = (Text(hold(cell, wide // 2)) for cell in row)
        grid.add_row(*cells, style="bright_black" if number in grey_rows else "")
    console = Console(file=io.StringIO(), width=wide, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip().replace(HELD, " ") for line in capture.get().splitlines())


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    # Without rich, whose lines are the same: it takes 1.2 s instead of 3 ms for 1,000 tasks, and 20 ms to import.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _finding_lines(findings: "Sequence[Finding]", commands: Commands) -> list[str]:
    return [commands.after(finding.text, finding.next_steps) for finding in findings]


def describe_best(best: "Best") -> str:
    """Return the point with its evidence and, for a finished sweep, the answer."""
    from sweeps.spec.model import SMOKE_TEST

    point = best.point.as_dict()
    weighs = "  (alpha weighs the labels)" if "alpha" in point else ""  # some libraries define it the other way round
    rows = [
        ("", SMOKE_TEST if best.smoke_test else ""),
        *((name, str(value) if isinstance(value, str | bool) else f"{value:.4g}") for name, value in point.items()),
        ("loss", best.loss + weighs if best.loss else ""),
        *_evidence(best),
        ("", untuned_won(best)),
        ("answer", " ".join(best.summary)),
        ("answer hash", best.answer_hash or ""),
    ]
    width, wide = min(columns() or WIDTH, WIDTH), max(_LABEL, *map(len, point)) + 1
    lines = (wrapped(text, width, first=f"{label:<{wide}}", then=" " * wide) for label, text in rows if text)
    typed = [f"{'as code':<{wide}}{local().line('best', best.sweep, '--paste')}"] if best.paste else []
    return "\n".join([*(line for row in lines for line in row), *typed])


def untuned_won(best: "Best") -> str:
    """Return that the untuned default won; "" if a tuned point did."""
    return f"{best.untuned} won: no tuned point was better on fresh seeds" if best.untuned else ""


def _evidence(best: "Best") -> list[tuple[str, str]]:
    """Return the interval of the point, the incumbent, and why the two may differ."""
    from sweeps.stats.estimates import clipped, limits

    single, accuracy, score = best.incumbent, best.accuracy, best.score
    of = single.task if single.trial_number is None else f"search trial {single.trial_number}"
    trial = f"{of}: {single.point.text(4)}, "
    trial += f"{score.text(single.score)} (n=1)"
    if not best.confirmed:
        return [
            ("validation", f"{score.text(accuracy.mean)}, n=1: UNCONFIRMED, the best single {trial}"),
            ("", "a lucky seed can win a search; stage confirm reruns the best trials with fresh seeds"),
        ]
    bounds = limits(accuracy)
    if bounds is None:
        interval = f", n={accuracy.n}, no interval"
    else:
        low, high = sorted(map(score.level, clipped(bounds, score.bounds)))
        digits = score.decimals(2, low, high)
        interval = f" [{low:.{digits}f}, {high:.{digits}f}] 95 % t interval, n={accuracy.n} fresh seeds"
    why = "optuna-dashboard shows the same point as best"
    if single.point != best.point:
        default = " and the default" if best.untuned else ""
        why = (
            "optuna-dashboard shows this trial as best; its score is partly luck. The point above has the"
            f" {score.best} mean when the first search's top trials{default} are rerun with fresh seeds"
        )
    return [("validation", f"{score.text(accuracy.mean)}{interval}"), ("incumbent", trial), ("", why)]


def describe_status(status: "Status") -> str:
    """Return a table of the stages, the workers, the failures, and the next command."""
    stages = status.display_stages
    names = ["total", "waiting", "running", "done", "failed", "skipped"]
    names += [name for name in ("cancelled", "unavailable") if any(getattr(c, name) for c in stages.values())]
    counts = [[stage, *(str(getattr(count, name)) for name in names)] for stage, count in stages.items()]
    lacking = [number for number, count in enumerate(stages.values(), start=1) if count.unavailable]
    lines = [table([["stage", *names], *counts], grey_rows=lacking), ""]
    for row in status.workers:
        left = row.lease_left_s
        lease = f"lease {left:.0f} s" if row.alive else f"lease expired {-left:.0f} s ago; the worker is probably dead"
        silent = row.idle_s > max(_SILENT_S, row.limit_s / 10)
        ends = f"; no step for {duration(row.idle_s)}, times out in {duration(max(row.limit_s - row.idle_s, 0))}"
        lines.append(f"worker {row.worker}: {row.task} attempt {row.attempt}, {lease}{ends if silent else ''}")
    lines += [f"worker {row.worker}: {row.state}, last seen {duration(row.seen_s)} ago" for row in status.idle_workers]
    if status.undrawn:
        text = f"{status.undrawn} trials are not in the dashboard yet; to add them:"
        lines.append(f"{text} {local().line('reap', status.sweep)}")
    lines += status.problems
    if status.problems:
        lines.append(f"to retry: {local().retry_and_launch(status.sweep)}")
    from sweeps.spec.model import SMOKE_TEST

    noted = [SMOKE_TEST] if status.smoke_test else []
    return "\n".join([*lines, *noted, *status.fingerprints.lines(), _next_step(status)])


def _next_step(status: "Status") -> str:
    name, seconds = status.sweep, status.seconds_left
    if status.state != "active":
        resume, launch = local().line("resume", name), local().line("launch", name)
        return f"the sweep is {status.state}; to resume: {resume}, then {launch}"
    if seconds == 0:
        return f"finished; next: {local().line('report', name)}"
    if not any(row.alive for row in status.workers):
        frees = " (it takes over the tasks left)" if status.workers else ""
        return f"no worker is running; next: {local().line('launch', name)}{frees}"
    left = "unknown yet" if seconds is None else f"about {max(1, round(seconds / 60))} min"
    return f"time left: {left} ({100 * status.fraction:.0f} % done)"


def describe_trials(rows: Sequence[Mapping[str, Any]], *, scored: str) -> str:
    """Return a table of the tasks; on a terminal with the columns that fit, and each reason below its row.

    Args:
        scored: name of the score.
    """
    if not rows:
        return "(none)"
    keys, wide = list(rows[0]), columns()
    extra = keys[keys.index("alpha") + 1 : keys.index("score")]  # further searched parameters
    names = [*_POINT, *extra, *_RESULT]
    heads = {"test_accuracy": f"test_{scored}"}
    if wide is None:
        return "\n".join(_aligned(_cells(rows, [*names, "reason"], heads)))
    lines = _aligned(_cells(rows, names, heads))
    for left_out in ("", *_LEFT_OUT, *reversed(extra)):
        if max(map(len, lines)) <= wide:
            break
        names = [name for name in names if name != left_out]
        lines = _aligned(_cells(rows, names, _SHORT))
    printed = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        # For skipped rows the state is enough: dozens share one reason.
        reason = "" if row["state"] == "skipped" else " ".join((row["reason"] or "").split())
        below = wrap(f"  {reason}", wide).split("\n") if reason else []
        printed += [grey(text) if row["state"] == "unavailable" else text for text in (line, *below)]
    return "\n".join(printed)

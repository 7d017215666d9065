"""Print results: the same formats on every reading command, on stdout only."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sweeps.errors import SpecError


class Format(StrEnum):
    """What -f takes."""

    table = "table"
    json = "json"
    yaml = "yaml"
    csv = "csv"
    value = "value"


def render(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any], form: Format, field: str | None = None) -> str:
    """Return one record (a mapping) or several (a sequence) as text.

    Args:
        field: only this key; nested keys with dots, as in candidates.0.mean.

    Raises:
        SpecError: no such field; it lists those there are.
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
    table: Sequence[Mapping[str, Any]] = [rows] if isinstance(rows, Mapping) else rows
    if form is Format.csv:
        return _csv(table)
    if form is Format.value:
        return "\n".join(" ".join(_cell(value) for value in row.values()) for row in table)
    return _pairs(rows) if isinstance(rows, Mapping) else _table(rows)


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


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "(none)"
    columns = [key for key in rows[0] if any(row[key] not in (None, "") for row in rows)]
    cells = [columns] + [[_short(row[key]) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _pairs(row: Mapping[str, Any]) -> str:
    width = max(map(len, row), default=0)
    return "\n".join(f"{key.ljust(width)}  {_short(value)}" for key, value in row.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(value)

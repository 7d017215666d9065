"""The parts of pages that are generated from the code, so that they cannot disagree with it.

A part lies between the lines `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->` of a page in docs and is committed
with it, so that the page is whole on a code host. `python -m tests.support.references` writes parts; a test compares.
"""

import re
from collections.abc import Callable

from sqlalchemy import Column, UniqueConstraint
from sqlalchemy.dialects import postgresql

from storage.tables import SCHEMA_VERSION, metadata
from sweeps.extensions import COMMANDS, ENGINES, EXTRAS, TRACKERS, TRAINERS
from tests.support.docs import cli_reference, notebook, rooms, spec_reference
from tests.support.pages import PART
from tests.support.paths import REPOSITORY

_DIALECT = postgresql.dialect()


def fill(text: str) -> str:
    """Rewrite every part of a page; KeyError names a part without a generator."""

    def written(part: re.Match[str]) -> str:
        return f"{part['begin']}\n\n{GENERATORS[part['name']](part['argument'] or '').strip()}\n\n<!-- end -->"

    return PART.sub(written, text)


def _extras(_: str) -> str:
    rows = [f"| `{name}` | {extra.help} |" for name, extra in EXTRAS.items()]
    return "\n".join(["| extra | needed for |", "| --- | --- |", *rows])


def _names(_: str) -> str:
    tables = {"trainers": TRAINERS, "engines": ENGINES, "trackers": TRACKERS, "commands": COMMANDS}
    rows = [
        f"| `kd_sweeps.{group}` | `{name}` | {row.help} | {f'`{row.extra}`' if row.extra else ''} |"
        for group, known in tables.items()
        for name, row in known.items()
    ]
    return "\n".join(["| entry points | name | what it is | extra |", "| --- | --- | --- | --- |", *rows])


def _schema(_: str) -> str:
    lines = [f"Schema version {SCHEMA_VERSION}.\n"]
    for table in metadata.sorted_tables:
        lines += [f"### {table.name}\n", "| column | type | |", "| --- | --- | --- |"]
        lines += [
            f"| `{column.name}` | {column.type.compile(_DIALECT).lower()} | {_notes(column)} |" for column in table.c
        ]
        unique = [item for item in table.constraints if isinstance(item, UniqueConstraint) and len(item.columns) > 1]
        lines += [f"\nUnique together: {', '.join(f'`{c.name}`' for c in item.columns)}." for item in unique]
        lines.append("")
    return "\n".join(lines)


def _notes(column: Column[object]) -> str:
    notes = ["primary key"] if column.primary_key else []
    notes += [f"references `{key.target_fullname}`" for key in column.foreign_keys]
    notes += ["unique"] if column.unique else []
    notes += ["may be empty"] if column.nullable else []
    return ", ".join(notes)


def _source(path: str) -> str:
    return f"```python\n{(REPOSITORY / path).read_text(encoding='utf-8').strip()}\n```"


GENERATORS: dict[str, Callable[[str], str]] = {
    "cli": lambda _: cli_reference.markdown(),
    "spec": lambda _: spec_reference.markdown(),
    "presets": lambda _: spec_reference.presets(),
    "rooms": lambda _: rooms.table(),
    "docstring": rooms.docstring,
    "schema": _schema,
    "extras": _extras,
    "names": _names,
    "notebook": notebook.markdown,
    "source": _source,
}

"""The tables of the database, read from SQLAlchemy's metadata."""

from sqlalchemy import Column, UniqueConstraint
from sqlalchemy.dialects import postgresql

from storage.tables import SCHEMA_VERSION, metadata

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def markdown() -> str:
    """Return one list of columns for each table."""
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

"""Storages that older commits wrote (tests/data/README.md), on both databases. Imports no pytest."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import MetaData, event

from storage.url import resolve, sqlite_path
from tests.support.paths import REPOSITORY

DATA = REPOSITORY / "tests" / "data"
COMMITS = {1: "f98c2b2", 2: "d094334", 3: "abb58fc", 4: "dfc4004"}
"""By schema version."""
_OURS = ("kd_sweeps_schema", "sweeps", "revisions", "phases", "tasks", "attempts", "selections", "blobs", "workers")


def unpack(version: int, path: Path) -> sqlalchemy.URL:
    """Write the storage of that schema version to a file."""
    path.write_bytes(gzip.decompress((DATA / COMMITS[version] / "storage.db.gz").read_bytes()))
    return resolve(f"sqlite:///{path}")


def placed(version: int, url: str, folder: Path) -> sqlalchemy.URL:
    """Place the storage of that schema version at the URL; on Postgres without Optuna's tables."""
    target = resolve(url)
    if target.get_backend_name() == "sqlite":
        return unpack(version, sqlite_path(target))
    source = sqlalchemy.create_engine(unpack(version, folder / "source.db"))
    metadata = MetaData()

    @event.listens_for(metadata, "column_reflect")
    def generic(inspector: Any, table: Any, column: Any) -> None:
        column["type"] = column["type"].as_generic()

    metadata.reflect(source, only=lambda name, _: name in _OURS)
    engine = sqlalchemy.create_engine(target)
    with source.connect() as reading, engine.begin() as writing:
        metadata.create_all(writing)
        for table in metadata.sorted_tables:
            if rows := [dict(row._mapping) for row in reading.execute(table.select())]:
                writing.execute(table.insert(), rows)
    source.dispose()
    engine.dispose()
    return target


def columns(engine: sqlalchemy.Engine) -> dict[str, Any]:
    """Return columns, keys and indexes by table, without details that a migration cannot reproduce."""
    inspector = sqlalchemy.inspect(engine)
    shape: dict[str, Any] = {}
    for table in {*_OURS, "reserved_studies"} & set(inspector.get_table_names()):
        shape[table] = {
            "columns": {
                column["name"]: (_kind(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
            },
            "primary": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (key["constrained_columns"], key["referred_table"], key["options"].get("ondelete"))
                for key in inspector.get_foreign_keys(table)
            ),
            "indexes": sorted(
                str(index["name"]) for index in inspector.get_indexes(table) if not index.get("duplicates_constraint")
            ),
        }
    return shape


def _kind(type_: Any) -> str:
    return "DOUBLE" if isinstance(type_, sqlalchemy.Float) else str(type_)  # SQLite keeps the spelling of the type


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in tables}

"""What SQLite and Postgres spell differently: the database's clock, and INSERT ... ON CONFLICT.

Leases compare times of many machines, so only the database's clock counts.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Double, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


class database_now(FunctionElement[float]):
    """SQL expression: seconds since 1970 by the database's clock, float, resolution a millisecond or better.

    On Postgres it moves on within a transaction: a writer that waited for a lock must not write an old time.
    """

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _on_sqlite(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _on_postgres(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def insert_into(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an insert into `table` that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    # Postgres' dialect takes 40 ms to import, a twentieth of `best`; on SQLite nobody needs it.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)

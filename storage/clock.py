"""The database's clock. Leases compare times of many machines, so only one of them may tell the time."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


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

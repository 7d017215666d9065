"""Run a block as one transaction; a database fault leaves it as one line of text."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc
from sqlalchemy import Connection, Engine

from storage.db.faults import translate


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Give a connection inside one transaction: committed at the end, rolled back by an exception."""
    # BEGIN IMMEDIATE takes SQLite's write lock first: a transaction that reads and then writes would
    # otherwise fail at once, without waiting, when another process wrote in between.
    with _transaction(engine, sqlite_begin="BEGIN IMMEDIATE") as connection:
        yield connection
        connection.commit()


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Give a connection for reading: on SQLite everything read is of one moment. Nothing is committed."""
    with _transaction(engine, sqlite_begin="BEGIN") as connection:
        yield connection


@contextmanager
def _transaction(engine: Engine, *, sqlite_begin: str) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql(sqlite_begin)
            yield connection
    except sqlalchemy.exc.SQLAlchemyError as error:
        translated = translate(error, engine.url)
        if translated is error:
            raise
        raise translated from error

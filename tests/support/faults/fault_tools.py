"""Tools of the fault tests: cause something at a chosen moment, and read the database's errors."""

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Engine, event

from tests.support.paths import REPOSITORY


@contextlib.contextmanager
def meanwhile(seconds: float, then: Callable[[], Any]) -> Iterator[None]:
    """Run `then` after `seconds`, concurrently with the block, and before the block is left."""
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(lambda: (time.sleep(seconds), then()))
        yield
        later.result()


@contextlib.contextmanager
def running(script: str, engine: Engine, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a Python process that finds the storage in its environment; killed at the end of the block."""
    environ = os.environ | {
        "KD_SWEEPS_STORAGE": engine.url.render_as_string(hide_password=False),
        "PYTHONPATH": str(REPOSITORY),
    }
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def set_on_connect(engine: Engine, name: str, value: str) -> None:
    """Change a setting of every connection opened from now on."""
    engine.dispose()

    @event.listens_for(engine, "connect")
    def change(connection: psycopg.Connection[Any], record: object) -> None:
        connection.execute(f"SET {name} = '{value}'")
        connection.commit()


def errors_of(engine: Engine) -> list[str]:
    """Collect every error of the server, refused connections included: its SQLSTATE, if any, and its text."""
    errors: list[str] = []

    @event.listens_for(engine, "handle_error")
    def note(context: sqlalchemy.ExceptionContext) -> None:
        error = context.original_exception
        errors.append(f"{getattr(error, 'sqlstate', None)} {error}")

    return errors

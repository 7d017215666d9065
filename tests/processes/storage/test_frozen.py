"""A frozen Postgres server: it acknowledges packets and answers nothing."""

import time

import pytest

from storage.db.engine import create_lock, open_engine
from storage.db.transaction import patience
from storage.errors import Unreachable
from storage.records import queries
from storage.url import resolve
from tests.support.postgres_server import PostgresServer
from tests.support.sweeps.small_sweeps import created

pytestmark = pytest.mark.processes
SILENCE_S = 2.0
SLOWER_S = 1.5  # allowance for a machine under load


def test_a_frozen_database_is_an_error_in_time_and_the_next_query_after_the_thaw_succeeds(
    server: PostgresServer,
) -> None:
    url = resolve(server.new_database())
    created(url.render_as_string(hide_password=False))
    engine = open_engine(url)
    assert queries.is_sweep(engine, "s")
    with server.frozen():
        time.sleep(1.1)  # then its connection is tested before use, which is a second answer to wait for
        for question in (
            lambda: queries.is_sweep(engine, "s"),
            lambda: queries.is_sweep(engine, "s"),  # its connection was thrown away: it needs a new one
            lambda: open_engine(url),
            lambda: create_lock(url).__enter__(),
        ):
            began = time.monotonic()
            with patience(retry_s=1, silence_s=SILENCE_S), pytest.raises(Unreachable):
                question()
            assert SILENCE_S <= time.monotonic() - began < SILENCE_S + SLOWER_S
    with patience(silence_s=SILENCE_S):
        assert queries.is_sweep(engine, "s")
    engine.dispose()

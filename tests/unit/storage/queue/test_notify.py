"""storage.queue.notify: how a waiting worker is woken."""

import os
import threading
import time

import pytest
from sqlalchemy import Engine

from storage.db.transaction import write
from storage.queue.notify import Listener, listen, notify, pipe

LONG_S = 30.0


def waited(listener: Listener, *, most_s: float = LONG_S) -> float:
    """Return the seconds that the listener waited."""
    began = time.monotonic()
    listener.wait(most_s=most_s)
    return time.monotonic() - began


@pytest.fixture
def ends() -> tuple[int, int]:
    return os.pipe()


def test_repeated_calls_wake_once_and_clear_discards_earlier_calls(ends: tuple[int, int]) -> None:
    reading, writing = ends
    listener = Listener(threading.Event(), pipe(reading))
    os.write(writing, b"\n" * 100)
    assert waited(listener) < 5
    assert waited(listener, most_s=0.2) >= 0.15, "a hundred calls wake once"
    os.write(writing, b"\n")
    listener.clear()
    assert waited(listener, most_s=0.2) >= 0.15, "a call before clear() is already handled"


def test_a_call_between_clear_and_wait_wakes(ends: tuple[int, int]) -> None:
    reading, writing = ends
    listener = Listener(threading.Event(), pipe(reading))
    listener.clear()
    os.write(writing, b"\n")
    assert waited(listener) < 5


def test_without_its_launch_a_worker_polls(ends: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = ends
    listener = Listener(threading.Event(), pipe(reading))
    threading.Timer(0.2, os.close, [writing]).start()
    assert waited(listener) < 5
    assert "notifications have ended (the launch has ended): polling instead" in caplog.text
    assert 0.3 < waited(listener) < 5
    assert len(caplog.records) == 1


def test_a_worker_that_is_asked_to_stop_stops_waiting(ends: tuple[int, int]) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert waited(Listener(stop, pipe(ends[0]))) < 5


def test_a_notification_wakes_the_workers_of_its_sweep_alone(engine: Engine) -> None:
    with listen(engine, 7, stop=threading.Event()) as listener:
        if engine.dialect.name == "sqlite":
            assert 0.3 < waited(listener) < 5, "without notifications a worker polls"
            return
        with write(engine) as connection:
            notify(connection, 7)
        assert waited(listener) < 5
        with write(engine) as connection:
            notify(connection, 8)
        assert waited(listener, most_s=0.5) >= 0.4

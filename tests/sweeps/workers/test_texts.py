"""What users' programs say is stored without passwords, short, and in characters that every database takes."""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy

from storage.queue.tasks import Claim
from storage.records import queries
from storage.url import resolve
from sweeps.distill.session import Outcome
from sweeps.workers import attempt
from sweeps.workers.logs import MOST_REASON, JsonLines, TextLines, error_text, redact, redact_tail
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of

URL = resolve('postgresql://keeper:g3h%2Feim"x@host:5432/db')


@pytest.mark.parametrize(
    "text",
    [
        "no luck with postgresql://keeper:g3h%2Feim%22x@host/db",
        'the password is g3h/eim"x',
        'as JSON: g3h/eim\\"x',
        "somebody else's: mysql://root:g3heim@there/db",
        "with an @: mysql://root:g3heim@eim@there/db",
        "cut: mysql://root:g3hei...",
    ],
)
@pytest.mark.parametrize("clean", [redact, redact_tail])
def test_no_password_is_left(text: str, clean: Callable[[str, sqlalchemy.URL], str]) -> None:
    assert "eim" not in clean(text, URL).replace("somebody", "")
    assert "***" in clean(text, URL)


def test_a_reason_is_short_and_holds_nothing_that_a_database_refuses_or_a_terminal_obeys() -> None:
    assert redact("a \ud800 b \x00 c \x1b[2J d\ne\tf", None) == "a \\ud800 b \\0 c \\u001b[2J d\ne\tf"
    started = time.monotonic()
    for much in ("x" * 40_000_000, "://a:" * 8_000_000):
        assert len(redact(much, URL)) == MOST_REASON
        assert len(redact_tail(much, URL)) <= 64 * 1024
    assert time.monotonic() - started < 20, "whatever it is, no regular expression reads all of it again and again"


def test_an_error_that_cannot_be_printed_is_none_of_the_worker() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert error_text(Mute()) == "an error that cannot be printed, because of ValueError"


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an attempt logs; pytest does not see it, since its parallel workers cannot send half a character."""
    found: list[str] = []
    logger, handler = logging.Logger("without a parent"), logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    monkeypatch.setattr(attempt, "log", logger)
    return found


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("lone \ud800", "ValueError: lone \\ud800"),
        ("nul \x00", "ValueError: nul \\0"),
        ("esc \x1b]0;x\x07", "ValueError: esc \\u001b]0;x\\u0007"),
        ("x" * 3_000_000, "ValueError: " + "x" * (MOST_REASON - 15) + "..."),
        ("postgresql://u:g3heim@h/db", "ValueError: postgresql://u:***@h/db"),
    ],
    ids=["surrogate", "NUL", "ESC", "much", "password"],
)
@pytest.mark.slow_on("postgres")
def test_whatever_a_users_error_says_its_task_fails_and_the_rest_goes_on(
    storage_url: str, text: str, stored: str, messages: list[str]
) -> None:
    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "search#0":
            raise ValueError(text)
        return quadratic(claim, params, on_step)

    with Worker(created(storage_url, SMALL), "s", run=broken) as worker:
        assert worker.work() == 0
        tasks = {task.key: task for task in tasks_of(worker.engine)}
        made = queries.attempts_of(worker.engine, worker.sweep.id, "search#0")
        assert (tasks["search#0"].state, tasks["search#0"].reason) == ("failed", stored)
        assert made is not None
        assert {one.reason for one in made} == {stored}
        assert all("g3heim" not in (one.trace or "") for one in made)
    assert any(stored in message for message in messages)
    assert all("g3heim" not in message for message in messages)


@pytest.mark.parametrize("formatter", [JsonLines(URL), TextLines(URL)], ids=["file", "terminal"])
def test_a_message_and_its_traceback_are_logged_without_passwords(formatter: logging.Formatter) -> None:
    try:
        raise ValueError('g3h/eim"x')
    except ValueError as error:
        about = (type(error), error, error.__traceback__)
    record = logging.LogRecord("kd", logging.ERROR, "", 0, "\x1b[2J of %s", ("mysql://root:g3heim@there/db",), about)
    line = formatter.format(record)
    assert "eim" not in line
    assert "ValueError: ***" in line
    assert "mysql://root:***@there/db" in line
    assert "\x1b" not in line

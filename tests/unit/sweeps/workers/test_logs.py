"""Logs and errors of user code: one JSON object per message, no passwords, only characters that databases accept."""

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage.records import queries
from storage.url import resolve
from sweeps.plan.jobs import AnyJob
from sweeps.workers import attempt
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.logs import (
    MOST_REASON,
    JsonLines,
    Line,
    TextLines,
    end_of,
    error_text,
    read_line,
    redact,
    redact_tail,
)
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created, tasks_of

TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} I ")
SCRIPT = """
import logging, os, sys
from pathlib import Path
from sweeps.workers.logs import about, worker_log

log = logging.getLogger("sweeps.workers.test_logs")
for path in (Path(sys.argv[1]), None):
    with worker_log(path):
        log.info("before")
        with about("search#3", 2):
            log.info("two\\nlines of %s", "text")
            try:
                raise ValueError("no luck")
            except ValueError as error:
                log.error("search#3 attempt 2 failed", exc_info=error)
        os.write(2, b"noise of a library\\n")
"""


def test_a_file_gets_an_object_per_message_and_the_terminal_text_or_without_a_file_the_objects(
    tmp_path: Path,
) -> None:
    path = tmp_path / "logs" / "w.log"
    process = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], stderr=subprocess.PIPE, text=True, check=True)
    first, second, third, noise = path.read_text().splitlines()
    assert "task" not in json.loads(first)
    values = json.loads(second)
    assert (values["task"], values["attempt"], values["level"]) == ("search#3", 2, "INFO")
    assert (values["message"], values["logger"]) == ("two\nlines of text", "sweeps.workers.test_logs")
    assert read_line(noise) == Line("noise of a library")
    records = [read_line(line) for line in (first, second, third)]
    assert [line.task for line in records] == ["", "search#3", "search#3"]
    assert all(line.ours for line in records)
    assert TEXT.match(records[1].text)
    assert records[2].text.splitlines()[-1] == "ValueError: no luck"
    text = "".join(f"{line.text}\n" for line in records)
    assert process.stderr.startswith(text), "the terminal shows what `logs` prints from the file"
    *lines, noise = process.stderr.removeprefix(text).splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    assert messages == ["before", "two\nlines of text", "search#3 attempt 2 failed"]
    assert noise == "noise of a library"


NOT_OURS = ["", "null", "[]", "3", '{"time": "noon"}', '{"message": "x"}', '{"time": 3, "level": 1}']


@pytest.mark.parametrize("line", NOT_OURS)
def test_a_line_that_is_not_ours_is_kept_as_it_is(line: str) -> None:
    assert read_line(line) == Line(line)


def test_the_end_of_a_long_log_is_short(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert end_of(path) is None
    path.write_text("x" * 1_000_000 + "\nthe last line\n")
    end = end_of(path)
    assert end is not None
    assert len(end) == 64 * 1024
    assert end.endswith("\nthe last line\n")
    assert end_of(path, start=1_000_001) == "the last line\n"


URL = resolve('postgresql://keeper:g3h%2Feim"x@host:5432/db')


@pytest.mark.parametrize(
    "text",
    [
        "no luck with postgresql://keeper:g3h%2Feim%22x@host/db",
        'the password is g3h/eim"x',
        'as JSON: g3h/eim\\"x',
        "another database: mysql://root:g3heim@there/db",
        "with an @: mysql://root:g3heim@eim@there/db",
        "cut: mysql://root:g3hei...",
    ],
)
@pytest.mark.parametrize("clean", [redact, redact_tail])
def test_passwords_are_removed(text: str, clean: Callable[[str, sqlalchemy.URL], str]) -> None:
    assert "eim" not in clean(text, URL)
    assert "***" in clean(text, URL)


def test_a_reason_is_short_and_has_no_character_that_a_database_refuses_or_a_terminal_interprets() -> None:
    assert redact("a \ud800 b \x00 c \x1b[2J d\ne\tf", None) == "a \\ud800 b \\0 c \\u001b[2J d\ne\tf"
    started = time.monotonic()
    for much in ("x" * 40_000_000, "://a:" * 8_000_000):
        assert len(redact(much, URL)) == MOST_REASON
        assert len(redact_tail(much, URL)) <= 64 * 1024
    assert time.monotonic() - started < 20, "no regular expression takes quadratic time"


def test_an_error_that_cannot_be_printed_does_not_stop_the_worker() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert error_text(Mute()) == "an error that cannot be printed, because of ValueError"


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the log of an attempt outside of pytest, whose workers cannot send a lone surrogate."""
    texts: list[str] = []
    logger, handler = logging.Logger("without a parent"), logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    monkeypatch.setattr(attempt, "log", logger)
    return texts


def test_an_error_with_any_text_fails_its_task_and_no_other(
    tmp_path: Path, in_memory: None, messages: list[str]
) -> None:
    texts = {
        "search#0": ("lone \ud800", "ValueError: lone \\ud800"),
        "search#1": ("nul \x00", "ValueError: nul \\0"),
        "search#2": ("esc \x1b]0;x\x07", "ValueError: esc \\u001b]0;x\\u0007"),
        "native.search#0": ("x" * 3_000_000, "ValueError: " + "x" * (MOST_REASON - 15) + "..."),
        "native.search#1": ("postgresql://u:g3heim@h/db", "ValueError: postgresql://u:***@h/db"),
    }

    def broken(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key in texts:
            raise ValueError(texts[claim.key][0])
        return quadratic(claim, params, on_step)

    with Worker(DatabaseBackend.open(created(f"sqlite:///{tmp_path}/s.db"), "s"), run=broken) as worker:
        assert worker.work() == 0
        tasks = {task.key: task for task in tasks_of(worker.backend.engine)}
        assert {key for key, task in tasks.items() if task.state != "done"} == set(texts)
        for key, (_, stored) in texts.items():
            assert (tasks[key].state, tasks[key].reason) == ("failed", stored)
            attempts = queries.attempts_of(worker.backend.engine, worker.backend.sweep.id, key) or []
            assert {attempt.reason for attempt in attempts} == {stored}
            assert all("g3heim" not in (attempt.trace or "") for attempt in attempts)
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

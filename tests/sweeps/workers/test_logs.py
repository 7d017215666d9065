"""Logs: one JSON object per message in the file, text for people, other programs' lines as they are."""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.workers.launcher import _last_line
from sweeps.workers.logs import JsonLines, Line, about, read_line, worker_log

log = logging.getLogger("sweeps.workers.test_logs")
TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} I ")


@pytest.fixture
def written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Path]:
    """A log file into which the test may write."""
    path = tmp_path / "logs" / "w.log"
    with worker_log(path):
        yield path


def test_a_message_is_one_object_that_names_the_task_at_work(written: Path) -> None:
    log.info("before")
    with about("search#3", 2):
        log.info("two\nlines of %s", "text")
    os.write(2, b"noise of a library\n")
    first, second, noise = written.read_text().splitlines()
    assert "task" not in json.loads(first)
    values = json.loads(second)
    assert (values["task"], values["attempt"], values["level"]) == ("search#3", 2, "INFO")
    assert values["message"] == "two\nlines of text"
    assert values["logger"] == "sweeps.workers.test_logs"
    read = read_line(second)
    assert TEXT.match(read.text)
    assert read.text.endswith("two\nlines of text")
    assert (read.task, read.ours) == ("search#3", True)
    assert read_line(noise) == Line("noise of a library")


def test_a_traceback_is_part_of_its_message(written: Path) -> None:
    try:
        raise ValueError("no luck")
    except ValueError as error:
        log.error("search#3 attempt 1 failed", exc_info=error)
    (line,) = written.read_text().splitlines()
    text = read_line(line).text.splitlines()
    assert text[0].endswith("E search#3 attempt 1 failed")
    assert text[-1] == "ValueError: no luck"


@pytest.mark.parametrize(
    "line", ["", "null", "[]", "3", '{"time": "noon"}', '{"message": "x"}', '{"time": 3, "level": 1}']
)
def test_a_line_that_is_not_ours_is_shown_as_it_is(line: str) -> None:
    assert read_line(line) == Line(line)


def test_the_terminal_shows_text_while_the_file_holds_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with worker_log(tmp_path / "w.log"):
        log.info("at work")
    shown = capfd.readouterr().err
    assert TEXT.match(shown)
    assert shown.endswith("at work\n")
    assert json.loads((tmp_path / "w.log").read_text())["message"] == "at work"


def test_a_launched_worker_writes_json_to_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    with worker_log(None):
        log.info("at work")
    assert json.loads(capfd.readouterr().err)["message"] == "at work"


def test_the_launcher_shows_the_last_message_of_a_worker_that_died(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    path.write_text("")
    assert _last_line(path) == "(it printed nothing)"
    record = logging.LogRecord("sweeps", logging.INFO, "", 0, "search#3 attempt 1", None, None)
    path.write_text(f"noise\n{JsonLines().format(record)}\n\n")
    assert TEXT.match(_last_line(path))
    assert _last_line(path).endswith("search#3 attempt 1")
    path.write_text("Traceback (most recent call last):\nKeyError: 'x'\n")
    assert _last_line(path) == "KeyError: 'x'"

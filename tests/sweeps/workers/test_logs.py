"""Logs: one JSON object per message in the file, text for people, other programs' lines as they are."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.workers.logs import Line, end_of, read_line

TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} I ")


SCRIPT = """
import logging, os, sys
from pathlib import Path
from sweeps.workers.logs import about, worker_log

log = logging.getLogger("sweeps.workers.test_logs")
with worker_log(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
    log.info("before")
    with about("search#3", 2):
        log.info("two\\nlines of %s", "text")
        try:
            raise ValueError("no luck")
        except ValueError as error:
            log.error("search#3 attempt 2 failed", exc_info=error)
    os.write(2, b"noise of a library\\n")
"""


def _logged(*arguments: str) -> str:
    """What a process that logs shows on its stderr."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    return done.stderr


def test_the_file_holds_one_object_per_message_and_the_terminal_shows_text(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "w.log"
    shown = _logged(str(path))
    first, second, third, noise = path.read_text().splitlines()
    assert "task" not in json.loads(first)
    values = json.loads(second)
    assert (values["task"], values["attempt"], values["level"]) == ("search#3", 2, "INFO")
    assert (values["message"], values["logger"]) == ("two\nlines of text", "sweeps.workers.test_logs")
    assert read_line(noise) == Line("noise of a library")
    read = [read_line(line) for line in (first, second, third)]
    assert [line.task for line in read] == ["", "search#3", "search#3"]
    assert all(line.ours for line in read)
    assert TEXT.match(read[1].text)
    assert read[2].text.splitlines()[-1] == "ValueError: no luck"
    texts = [line.text for line in read]
    assert shown == "\n".join(texts) + "\n", "what the terminal shows is what `logs` makes of the file"


def test_a_launched_worker_writes_the_same_objects_to_its_output() -> None:
    *lines, noise = _logged().splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    assert messages == ["before", "two\nlines of text", "search#3 attempt 2 failed"]
    assert noise == "noise of a library"


NOT_OURS = ["", "null", "[]", "3", '{"time": "noon"}', '{"message": "x"}', '{"time": 3, "level": 1}']


@pytest.mark.parametrize("line", NOT_OURS)
def test_a_line_that_is_not_ours_is_shown_as_it_is(line: str) -> None:
    assert read_line(line) == Line(line)


def test_the_end_of_a_log_is_short_however_much_was_printed_into_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert end_of(path) is None
    path.write_text("x" * 1_000_000 + "\nthe last line\n")
    end = end_of(path)
    assert end is not None
    assert len(end) == 64 * 1024
    assert end.endswith("\nthe last line\n")
    assert end_of(path, start=1_000_001) == "the last line\n"

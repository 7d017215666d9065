"""The help texts in tests/data, and the figures and generated parts of the pages in docs.

After an intended change, rewrite them: python -m tests.support.references. Imports no pytest.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main

from sweeps.cli.app import app
from sweeps.cli.streams import exit_code_of
from tests.support.docs import notebook, parts
from tests.support.old_storages import DATA
from tests.support.pages import PART, pages

HELP = DATA / "help.txt"
FIGURES = {notebook.NOTEBOOKS / name: svg for name, svg in notebook.figures("first-sweep").items()}
FILES = (HELP, *FIGURES, *(page for page in pages() if PART.search(page.read_text(encoding="utf-8"))))


def current(file: Path) -> str:
    """Return the current text of one of FILES."""
    if file == HELP:  # what each command prints with --help on a terminal of 80 columns
        return "\n".join(f"$ {line}\n\n{_printed(line)}" for line in _lines(typer.main.get_command(app), "kd-sweeps"))
    return FIGURES[file] if file in FIGURES else parts.fill(file.read_text(encoding="utf-8"))


def _lines(command: Any, words: str) -> Iterator[str]:
    yield f"{words} --help"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _lines(inner, f"{words} {name}")


def _printed(line: str) -> str:
    with (
        mock.patch.dict(os.environ, COLUMNS="80"),
        mock.patch("sys.argv", line.split()),
        contextlib.redirect_stdout(io.StringIO()) as out,
    ):
        assert exit_code_of(app) == 0, line
    return out.getvalue()


if __name__ == "__main__":
    for file in FILES:
        file.write_text(current(file), encoding="utf-8")

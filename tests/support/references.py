"""The references of the command line and of the spec, kept in tests/data.

After an intended change, rewrite both: python -m tests.support.references. Imports no pytest.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import typer.main

from sweeps.cli.app import app
from sweeps.cli.streams import exit_code_of
from tests.support.old_storages import DATA
from tests.support.pages import extension


def helps() -> str:
    """Return what each command prints with --help on a terminal of 80 columns."""
    return "\n".join(f"$ {line}\n\n{_printed(line)}" for line in _lines(typer.main.get_command(app), "kd-sweeps"))


def spec() -> str:
    """Return the reference of a spec's keys, and the table of presets."""
    reference = extension("spec_reference")
    return f"{reference.markdown()}\n{reference.presets()}\n"


REFERENCES: Mapping[str, Callable[[], str]] = {"help.txt": helps, "spec.md": spec}


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
    for name, current in REFERENCES.items():
        (DATA / name).write_text(current(), encoding="utf-8")

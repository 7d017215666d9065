"""Fill the generated parts of the pages from the code, so that they cannot disagree with it.

A line `<!-- generate: NAME ARGUMENT -->` in a page is replaced by Markdown while the page is read.
"""

import re
from collections.abc import Callable
from typing import Any

import cli_reference
import database_schema
import extras
import notebook
import rooms
import spec_reference
from session import SessionLexer
from sphinx.application import Sphinx

_PLACEHOLDER = re.compile(r"^<!-- generate: ([\w-]+)(?: ([\w.-]+))? -->$", re.MULTILINE)

GENERATORS: dict[str, Callable[[str], str]] = {
    "cli": lambda _: cli_reference.markdown(),
    "spec": lambda _: spec_reference.markdown(),
    "presets": lambda _: spec_reference.presets(),
    "picture": lambda _: rooms.picture(),
    "rooms": lambda _: rooms.table(),
    "schema": lambda _: database_schema.markdown(),
    "docstring": rooms.docstring,
    "extras": lambda _: extras.table(),
    "names": lambda _: extras.names(),
    "notebook": notebook.markdown,
}


def fill(text: str) -> str:
    """Replace every placeholder of a page; KeyError names one that no generator knows."""
    return _PLACEHOLDER.sub(lambda match: GENERATORS[match[1]](match[2] or ""), text)


def _on_read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = fill(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _on_read)
    app.add_lexer("console", SessionLexer)
    return {"parallel_read_safe": True}

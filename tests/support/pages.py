"""The pages for people: README, docs and the files for contributors, with what the docs generate."""

import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.support.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
YARD = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bench/README.md")

_CODE = re.compile(r"`([^`\n]+)`")


def pages() -> list[Path]:
    """Return every Markdown page for people, in a fixed order."""
    return [
        *(REPOSITORY / name for name in YARD),
        *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
    ]


def all_text() -> str:
    """Return the text of all pages without their generated parts."""
    return "\n".join(page.read_text(encoding="utf-8") for page in pages())


def code_spans(text: str) -> list[str]:
    """Return the inline code of a page."""
    return _CODE.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


@cache
def extension(name: str) -> ModuleType:
    """Return a module of docs/_ext, which Sphinx finds on its own path."""
    folder = str(DOCS / "_ext")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return __import__(name)

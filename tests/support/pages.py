"""The pages for people: those of the repository's root, the docs and the benches."""

import re
from pathlib import Path

from tests.support.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
_OUTSIDE_DOCS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bench/README.md")
PART = re.compile(
    r"(?P<begin>^<!-- generated: (?P<name>[\w-]+)(?: (?P<argument>\S+))? -->$).*?^<!-- end -->$",
    re.MULTILINE | re.DOTALL,
)

_CODE = re.compile(r"`([^`\n]+)`")


def pages() -> list[Path]:
    """Return every Markdown page for people, in a fixed order."""
    return [
        *(REPOSITORY / name for name in _OUTSIDE_DOCS),
        *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
    ]


def all_text() -> str:
    """Return the text of all pages as people wrote it: without the generated parts."""
    return PART.sub("", "\n".join(page.read_text(encoding="utf-8") for page in pages()))


def code_spans(text: str) -> list[str]:
    """Return the inline code of a page."""
    return _CODE.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))

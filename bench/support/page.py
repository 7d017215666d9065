"""The pages that benches write: what was measured, with which command, on what, and when."""

import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench" / "results"
RESULTS = FOLDER / "results.md"
_TITLE = """# What was measured

Written by the commands of bench/README.md, a section each. A new run replaces its section.
"""


class Origin:
    """What a measurement is good for; made before it starts, since it notes the time and what else is running."""

    def __init__(self) -> None:
        from sweeps.workers.environment import provenance

        self._began, self._load = datetime.now(UTC), os.getloadavg()[0]
        self._found: Any = provenance()

    def __str__(self) -> str:
        """Two or three lines: command, commit, duration; processor; versions."""
        found = self._found
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        command = " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])
        seconds = (datetime.now(UTC) - self._began).total_seconds()
        return (
            f"Written by `{command}` at commit {found['git_commit']},\n"
            f"which took {seconds:.0f} s from {self._began:%Y-%m-%d %H:%M} UTC on.\n\n"
            f"{found['cpu']}, {found['cores']} cores, load average {self._load:.1f} before the start;"
            f" {found['platform']};\n{versions}.\n"
        )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def write_section(title: str, text: str, *, path: Path = RESULTS) -> None:
    """Put `text` under the heading `## title` of the page, in place of what stands there."""
    page = path.read_text(encoding="utf-8") if path.exists() else _TITLE
    section = f"## {title}\n\n{text.strip()}\n\n"
    heading = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    page, found = heading.subn(lambda _: section, page)
    page = page if found else f"{page.rstrip()}\n\n{section}"
    path.write_text(f"{page.rstrip()}\n", encoding="utf-8")

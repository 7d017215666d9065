"""Shared by all benches: the command line, the progress bar, and the page with the origin of its numbers."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from sweeps.stats.estimates import Estimate

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench" / "results"
RESULTS = FOLDER / "results.md"
_TITLE = """# What was measured

Written by the commands of bench/README.md, a section each. A new run replaces its section.
"""


def make_parser(doc: str, *, page: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if page:
        default = "default: bench/results/results.md"
        parser.add_argument("--page", type=Path, default=RESULTS, metavar="FILE", help=default)
    return parser


def bar() -> progress.Progress:
    columns = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn()
    return progress.Progress(progress.TextColumn("{task.description}"), *columns, console=Console(stderr=True))


class Origin:
    """The machine, versions and load of a measurement. Create it before the start: it records time and load."""

    def __init__(self) -> None:
        from sweeps.workers.environment import provenance

        self._began, self._load = datetime.now(UTC), os.getloadavg()[0]
        self._machine: Any = provenance()

    def __str__(self) -> str:
        machine = self._machine
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        command = " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]])
        seconds = (datetime.now(UTC) - self._began).total_seconds()
        return (
            f"Written by `{command}` at commit {machine['git_commit']},\n"
            f"which took {seconds:.0f} s from {self._began:%Y-%m-%d %H:%M} UTC on.\n\n"
            f"{machine['cpu']}, {machine['cores']} cores, load average {self._load:.1f} before the start;"
            f" {machine['platform']};\n{versions}.\n"
        )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def interval(mean: Estimate | None, *, form: str = "+.2f", absent: str = "missing") -> str:
    """Format a mean with its limits: "+1.31 [+0.99, +1.63]". absent: text without limits."""
    if mean is None or mean.low is None or mean.high is None:
        return absent
    return f"{mean.mean:{form}} [{mean.low:{form}}, {mean.high:{form}}]"


def percent(count: int, of: int) -> str:
    """Format a share in percent with its exact 95 % binomial interval."""
    from scipy import stats

    interval = stats.binomtest(count, of).proportion_ci(0.95)
    return f"{100 * count / of:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def write_section(title: str, text: str, *, path: Path = RESULTS) -> None:
    """Replace the section `## title` of the page."""
    page = path.read_text(encoding="utf-8") if path.exists() else _TITLE
    section = f"## {title}\n\n{text.strip()}\n\n"
    heading = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    page, replaced = heading.subn(lambda _: section, page)
    page = page if replaced else f"{page.rstrip()}\n\n{section}"
    path.write_text(f"{page.rstrip()}\n", encoding="utf-8")

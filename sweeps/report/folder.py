"""A report as a folder: the page for people, its Markdown, its figures, and the numbers for other programs."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeps.analysis.analysis import Analysis
from sweeps.errors import SpecError
from sweeps.report import figures, html_page, markdown, methods_section, tables
from sweeps.report.captions import captions
from sweeps.report.figure_data import pictures
from sweeps.spec import toml

PAGE = "report.html"
_ALT = {
    "surface": "Search surfaces",
    "history": "Search history",
    "arms": "Arms of transfer",
    "cost-latency": "Accuracy against latency",
    "cost-training": "Accuracy against training seconds",
    "break-even": "AutoKeras against the sweep",
}


def write(found: Analysis, directory: Path, *, extra: Sequence[str] = ()) -> Path:
    """Write the report of a sweep into a folder; gives the path of its report.html.

    The folder is made if it is missing. Other files in it stay; an earlier report is replaced, file by file and only
    once all of the new one has been written beside it.

    Args:
        extra: Markdown lines of further sections, after the figures.

    Raises:
        SpecError: the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)  # before anything is drawn: the usual mistake is told at once
        files = _files(found, extra)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=directory) as beside:
            for name, text in files.items():
                _new(Path(beside) / name).write_text(text, encoding="utf-8")
            for name in files:
                os.replace(Path(beside) / name, _new(directory / name))
            for name in {f"figures/{figure}.svg" for figure in figures.NAMES} - set(files):
                (directory / name).unlink(missing_ok=True)  # of an earlier report: this one does not speak of it
    except OSError as error:
        raise SpecError(
            f"--output: cannot write a report into {directory}: {error.strerror}; give a folder, for example: -o report"
        ) from None
    return directory / PAGE


def _files(found: Analysis, extra: Sequence[str]) -> dict[str, str]:
    """Every file by its path in the folder, the page last: once it is there, so is what it speaks of."""
    shown = pictures(found)
    drawn = {f"figures/{name}.svg": svg for name, svg in figures.draw(shown).items()}
    lines = markdown.lines(found, extra=[*_gallery(captions(shown)), *extra, *methods_section.section(found)])
    return {
        **drawn,
        "results.csv": tables.results_csv(found.comparison),
        "table.tex": tables.table_tex(found.comparison),
        "spec.toml": toml.to_toml(found.spec),
        "report.md": "\n".join([*lines, ""]),
        PAGE: html_page.page(lines, title=lines[0].removeprefix("# "), figures=drawn),
    }


def _gallery(said: Mapping[str, str]) -> list[str]:
    page = ["## Figures", ""] if said else []
    for number, (name, caption) in enumerate(said.items(), start=1):
        page += [f"![{_ALT[name]}](figures/{name}.svg)", f"**Figure {number}.** {caption}", ""]
    return page


def _new(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path

"""A report as a folder: the page for people, its Markdown, its figures, and the numbers for other programs."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sweeps.analysis.findings import Findings
from sweeps.analysis.secondary import questions
from sweeps.errors import SpecError
from sweeps.report import html_page, markdown, tables
from sweeps.report.document import Figure
from sweeps.report.figures import svg
from sweeps.report.figures.captions import captions
from sweeps.report.figures.data import pictures
from sweeps.report.page import page, title
from sweeps.report.sections import methods, secondary
from sweeps.spec import toml

PAGE = "report.html"
_ALT = {
    "gains": "Gain of each arm over no distillation",
    "regret": "The regret beside its margin",
    "methods": "Test accuracy of the student and of other methods",
    "surface": "Where the searches looked",
    "break-even": "AutoKeras against the sweep",
}


def write(findings: Findings, directory: Path) -> Path:
    """Write the report of a sweep into a folder; return the path of its report.html.

    The folder is made if it is missing. Other files in it stay; an earlier report is replaced, file by file and only
    once all of the new one has been written beside it.

    Raises:
        SpecError: the folder cannot be written.
    """
    figures = tuple(f"figures/{name}.svg" for name in svg.NAMES)
    replace_files(lambda: files(findings), directory, what="report", stale=figures)
    return directory / PAGE


def replace_files(
    made: Callable[[], Mapping[str, str]], directory: Path, *, what: str, stale: Iterable[str] = ()
) -> None:
    """Write files into a folder: all of them beside it first, then each in its place.

    Args:
        made: makes the files, by their path in the folder; called once the folder is there.
        what: "report", for the message and its example.
        stale: files of an earlier one, which are removed unless this one has them.

    Raises:
        SpecError: the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)  # before anything is drawn: the usual mistake is reported at once
        files = made()
        with tempfile.TemporaryDirectory(prefix=f".{what}-", dir=directory) as beside:
            for name, text in files.items():
                _new(Path(beside) / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            for name in files:
                os.replace(Path(beside) / name, _new(directory / name))
            for name in set(stale) - set(files):
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(
            f"--output: cannot write a {what} into {directory}: {error.strerror}; give a folder, for example: -o {what}"
        ) from None


def files(findings: Findings) -> dict[str, str]:
    """Return every file by its path in the folder, the page last: once it is there, so is what it speaks of."""
    shown = pictures(findings)
    drawn = svg.draw(shown)
    said = captions(shown)
    figures = {name: Figure(name, _ALT[name], said[name], wide=name in ("surface", "break-even")) for name in drawn}
    blocks = page(
        findings,
        figures=figures,
        secondary=secondary.blocks(questions(findings)),
        methods=[methods.section(findings)],
    )
    return {
        **{f"figures/{name}.svg": text for name, text in drawn.items()},
        "results.csv": tables.results_csv(findings),
        "table.tex": tables.table_tex(findings),
        "spec.toml": toml.to_toml(findings.spec),
        "report.md": f"{markdown.text(blocks)}\n",
        PAGE: html_page.html(blocks, title=title(findings), figures=drawn),
    }


def _new(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path

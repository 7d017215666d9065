"""A comparison as a folder: the page, its Markdown, its figure, and every training as CSV."""

from pathlib import Path

from sweeps.analysis.compared.compared import Compared
from sweeps.report import html_page, markdown
from sweeps.report.comparison import forest
from sweeps.report.comparison.page import page, title
from sweeps.report.document import Figure
from sweeps.report.folder import replace_files

PAGE = "compare.html"


def write(found: Compared, trainings: str, directory: Path) -> Path:
    """Write the comparison into a folder; return the path of its compare.html.

    The folder is made if it is missing. Other files in it stay; an earlier comparison is replaced, file by file and
    only once all of the new one has been written beside it.

    Args:
        trainings: every training as CSV.

    Raises:
        SpecError: the folder cannot be written.
    """
    replace_files(lambda: files(found, trainings), directory, what="comparison", stale=(f"figures/{forest.NAME}.svg",))
    return directory / PAGE


def files(found: Compared, trainings: str) -> dict[str, str]:
    """Return every file by its path in the folder, the page last."""
    drawn = forest.draw(found)
    figure = None if drawn is None else Figure(forest.NAME, forest.ALT, forest.caption(found))
    figures = {} if drawn is None else {forest.NAME: drawn}
    blocks = page(found, figure=figure)
    return {
        **{f"figures/{name}.svg": text for name, text in figures.items()},
        "compare.csv": trainings,
        "compare.md": f"{markdown.text(blocks)}\n",
        PAGE: html_page.html(blocks, title=title(found), figures=figures),
    }

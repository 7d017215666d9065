"""The page of a sweep inside a cell of a notebook, apart from the notebook's own style."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.records.queries import SweepRecord
    from sweeps.places.database import Database
    from sweeps.report.document import Block, Code

_WITH_RESULTS, _WITHOUT = 640, 330  # px; whoever reads may draw the lower corner


def page_of(place: "Database", name: str) -> str:
    """Return the page as an HTML element. Before the first result, and where none can be had, it says what to do."""
    from kd.errors import KdError
    from storage.errors import StorageError
    from sweeps.errors import NoResultsYet, SweepError
    from sweeps.hints import explain
    from sweeps.report import folder
    from sweeps.report.document import Code, Heading, Paragraph
    from sweeps.report.html_page import html

    try:
        try:
            return framed(folder.files(place.findings(name))[folder.PAGE], height=_WITH_RESULTS)
        except NoResultsYet:
            status = place.status(name)
            with place.open(name) as (_, sweep):
                planned = _planned(place, sweep)
        going = any(one.alive for one in status.workers)
        said = "Workers are at it; show this cell again later." if going else "Nothing has run yet. To begin:"
        todo: list[Block] = [Paragraph(said), *([] if going else [Code(("sweep.run()",))])]
        if status.state != "active":
            todo = [Paragraph(f"It is {status.state}. To go on:"), Code(("sweep.resume()", "sweep.run()"))]
        blocks = [Heading(name, level=1), *todo, planned]
    except (SweepError, StorageError, KdError) as error:
        blocks = [Heading(name, level=1), Paragraph(explain(error))]
    return framed(html(blocks, title=name, figures={}), height=_WITHOUT)


def _planned(place: "Database", sweep: "SweepRecord") -> "Code":
    from sweeps.plan.tasks import make_plan
    from sweeps.report.document import Code
    from sweeps.service.summary import describe_plan
    from sweeps.spec.model import as_it_stands

    spec = as_it_stands(sweep)
    return Code(tuple(describe_plan(spec, make_plan(spec), place.url)))


def framed(page: str, *, height: int) -> str:
    """Return a whole HTML page as an element that shows it: neither style nor script passes its border.

    Args:
        height: px at first.
    """
    # In single quotes, of which a page has few: a figure is full of double ones, and each would take six characters.
    inside = page.replace("&", "&amp;").replace("'", "&#39;")
    style = f"width:100%;height:{height}px;border:0;resize:vertical;overflow:auto"
    return f'<iframe sandbox title="the page of a sweep" style="{style}" srcdoc=\'{inside}\'></iframe>'

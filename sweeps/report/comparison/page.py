"""The page of a comparison: what is told apart, the figure, and the tables behind it."""

from collections.abc import Iterable, Sequence

from sweeps.analysis.compared.compared import Compared
from sweeps.analysis.compared.pairs import Pair
from sweeps.report import markdown
from sweeps.report.comparison import tables
from sweeps.report.document import Block, Figure, Heading, Paragraph
from sweeps.report.formats import between, points
from sweeps.report.names import called
from sweeps.stats.estimates import Estimate

LEVEL = 0.05  # of the family of all pairs that are shown


def text(found: Compared) -> str:
    """Return the comparison without its figure, as Markdown."""
    return markdown.text(page(found))


def title(found: Compared) -> str:
    """Return the title of the page."""
    return f"{', '.join(found.names)} compared"


def page(found: Compared, *, figure: Figure | None = None) -> list[Block]:
    """Return the whole page."""
    return [
        Paragraph(f"Sweeps beside each other: {', '.join(found.names)}.", small=True),
        Heading(headline(found), level=1),
        tables.overview(found),
        *([figure] if figure is not None else []),
        *tables.by_dataset(found),
        *_pairs(found),
        *_differing(found),
        *(Paragraph(one, small=True) for one in remarks(found)),
    ]


def headline(found: Compared) -> str:
    """Return which students are told apart; or why none can be, or none is."""
    if not found.pairs:
        if found.pending:
            return f"Not yet: nothing of {' and '.join(found.pending)} has finished."
        return "These sweeps have no dataset in common: nothing can be compared directly."
    told = [one for one in found.pairs if _is_told_apart(one)]
    if told:
        return " ".join(map(_better, told))
    if any(one.p is not None for one in found.pairs):
        return "No two of these sweeps are told apart: every difference may be luck of the seeds."
    return f"Nothing can be compared directly: {_reasons(found.pairs)}."


def _is_told_apart(one: Pair) -> bool:
    return one.p_holm is not None and one.p_holm < LEVEL


def _better(one: Pair) -> str:
    """Return the sentence about two sweeps that are told apart; the better one stands first."""
    assert one.difference is not None
    found: Estimate = one.difference
    better, worse = one.first, one.second
    if found.mean < 0:
        found, better, worse = _turned(found), worse, better
    interval = between(found, "")
    number = f"{points(found.mean, '')} points better than {worse}{f' ({interval})' if interval else ''}"
    return f"On {called(one.dataset)} {better} is {number}."


def _turned(value: Estimate) -> Estimate:
    """Return the estimate of the negative."""
    low, high = (None if end is None else -end for end in (value.high, value.low))
    return Estimate(-value.mean, low, high, value.n)


def _reasons(pairs: Sequence[Pair]) -> str:
    return "; ".join(dict.fromkeys(one.why or _untested(one) for one in pairs))


def _untested(one: Pair) -> str:
    """Return why there is no test of a difference that is shown."""
    if one.difference is not None and one.difference.is_same_point:
        return "their students are the same trainings"
    return "one shared seed is no test"


def _pairs(found: Compared) -> list[Block]:
    if not found.pairs:
        return []
    tests = sum(one.p is not None for one in found.pairs)
    said = (
        "The student of the first sweep minus that of the second one, paired by the seed that both trained with; the"
        " 95 % t interval is over these seeds and says nothing of what another search of each would have found."
        f" Holm adjusts p for {'the one test' if tests == 1 else f'all {tests} tests'} above. These are"
        " questions that nobody fixed beforehand: no verdict, and each sweep keeps its own."
    )
    return [Heading("Sweep against sweep"), tables.pairs(found), *([Paragraph(said, small=True)] if tests else [])]


def _differing(found: Compared) -> list[Block]:
    if len(found.sweeps) < 2:
        return []
    heading = Heading("What differs between their specs")
    if not found.differing:
        return [heading, Paragraph("Nothing: they are the same experiment.")]
    return [heading, tables.differing(found)]


def remarks(found: Compared) -> Iterable[str]:
    """Return how the numbers are made, and which of them cannot be set side by side."""
    yield (
        "Differences are accuracy points of the test set with their 95 % t interval; none is shown before a look"
        " of its sweep at that set is complete. Cost: the time that finished tasks ran, summed; of workers with one"
        " thread each in core-seconds (core-s)."
    )
    if len(found.machine_kinds) > 1:
        kinds = "; ".join(f"{cpu}, {threads} thread(s)" for cpu, threads in found.machine_kinds)
        yield f"**Seconds are not compared**: the tasks ran on {len(found.machine_kinds)} kinds of machine ({kinds})."

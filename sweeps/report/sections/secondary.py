"""The secondary questions of a sweep as a section of a written page."""

from collections.abc import Sequence

from sweeps.analysis.secondary import RETAINED, Answer, Question, Share
from sweeps.analysis.units import percent
from sweeps.report.document import Block, Heading, Paragraph, columns, table
from sweeps.report.formats import interval, percent_interval
from sweeps.stats.estimates import Estimate
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM

_COLUMNS = columns("question", "dataset", "answer", "p", "p (Holm)", "95 % BCa interval", "p (sign flips)", text=2)


def blocks(asked: Sequence[Question]) -> list[Block]:
    """Return the questions and their answers; nothing where no question can be answered."""
    if not asked:
        return []
    tests = sum(one.p is not None for one in asked)
    untested = "" if tests == len(asked) else " Trainings at the same point are not compared with themselves."
    return [
        Heading("Secondary questions", level=3),
        table(_COLUMNS, map(_cells, asked)),
        Paragraph(
            f"Differences are points of test accuracy, paired by seed. Holm's p adjusts for all {tests} questions"
            f" together.{untested} BCa intervals are given from {BCA_FROM} seeds on, sign-flip tests from"
            f" {SIGN_FLIP_FROM} on; for the retained share, both are of best's gain minus {percent(RETAINED):.0f} % of"
            " native's gain."
        ),
    ]


def said(answer: Answer) -> str:
    """Return an answer in words, with its unit."""
    return _share(answer.share) if isinstance(answer, Share) else interval(answer)


def _share(share: Estimate | None) -> str:
    if share is None or share.low is None or share.high is None:
        return "no share: native was not found to gain"
    return f"{percent_interval(share.mean, share.low, share.high)} (n={share.n})"


def _cells(one: Question) -> list[str]:
    bca = "" if one.bca is None or one.bca[0] == one.bca[1] else f"[{one.bca[0]:+.2f}, {one.bca[1]:+.2f}]"
    flips = "" if one.sign_flip is None else _p(one.sign_flip)
    return [one.name, one.dataset, said(one.answer), _p(one.p), _p(one.p_holm), bca, flips]


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

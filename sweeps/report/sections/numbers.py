"""The numbers behind the answer: every method on every dataset, what was tuned, the searches, the controls."""

import textwrap
from collections.abc import Iterable

from sweeps.analysis.comparison import Row
from sweeps.analysis.findings import Findings
from sweeps.analysis.outer import OuterRegrets
from sweeps.report import names
from sweeps.report.document import Block, Bullets, Fold, Heading, Paragraph, columns, table
from sweeps.report.formats import accuracy, interval
from sweeps.report.observations import as_good, explained, identified, in_short, looked
from sweeps.report.sentences import sentence
from sweeps.spec.losses import formula

_REASON = 110  # characters of a reason that a table shows


def searches(findings: Findings, figures: Iterable[Block]) -> Fold:
    """Return where the searches looked, what they found, and whether T and alpha matter."""
    blocks: list[Block] = [*figures, Bullets(tuple(_selected(findings)))]
    if findings.spec.outer.teachers * findings.spec.outer.searches > 1:
        blocks += _outer(findings)
    summary = "; ".join(f"{names.called(one.dataset)}: {said}" for one in findings.surfaces if (said := in_short(one)))
    return Fold("Where the searches looked", summary, tuple(blocks), printed=True)


def numbers(findings: Findings, more: Iterable[Block]) -> Fold:
    """Return the verdict in full, the accuracy of every method, and what differs from what.

    Args:
        more: what a written report alone has, the secondary questions.
    """
    blocks: list[Block] = [Paragraph(sentence(findings, one)) for one in findings.verdicts]
    blocks.append(Bullets((*as_good(findings), *explained(findings.controls), looked(findings))))
    for role in findings.shown_roles:
        blocks += accuracies(findings, role)
    blocks += [*_controls(findings), *more]
    return Fold("All numbers", "accuracies, differences, tests", tuple(blocks), printed=True)


def accuracies(findings: Findings, role: str) -> list[Block]:
    """Return the table of one dataset: validation and test accuracy, and what best is above each arm."""
    dataset = findings.spec.role(role).dataset
    rows = [row for row in findings.rows if row.dataset == dataset]
    strange = any(row.status != "done" for row in rows)
    heads = ["method", _names(findings), "validation %", "test %", "best - this, points"]
    head = columns(*heads, *(["status"] if strange else []), text=2)
    cells = [_cells(findings, row, strange=strange) for row in rows]
    return [Heading(f"On {names.called(dataset)}", level=3), table(head, cells)]


def _cells(findings: Findings, row: Row, *, strange: bool) -> list[str]:
    lead = findings.difference(f"best - {row.method}", row.dataset)
    status = "" if row.status == "done" else textwrap.shorten(row.status, _REASON, placeholder=" ...")
    return [
        _method(findings, row),
        "" if row.point is None else row.point.numbers(_more(findings)),
        accuracy(row.validation),
        accuracy(row.test),
        "" if lead is None else interval(lead),
        *([status] if strange else []),
    ]


def _method(findings: Findings, row: Row) -> str:
    """Return what a row is called, with the key under which `trials` and the CSV have it."""
    if row.kind != "arm":
        return f"{row.method} ({row.detail})" if row.detail else row.method
    return f"{names.arm(row.method, source=findings.spec.source.dataset, dataset=row.dataset)} (`{row.method}`)"


def _selected(findings: Findings) -> list[str]:
    items = []
    for role in findings.spec.roles:
        arm = "best" if role == "source" else "native"
        tuned = f"`{arm}`, tuned on {findings.spec.role(role).dataset}"
        chosen = findings.confirmed.get(role)
        if chosen is None:
            items.append(f"{tuned}: not confirmed yet")
            continue
        items.append(f"{tuned}: {chosen.best.point.text()}; validation {accuracy(chosen.best.accuracy)}")
    items += [said for surface in findings.surfaces if (said := identified(surface, findings.spec))]
    return [*items, f"loss: `{formula(findings.spec.training.distillation)}`; alpha weighs the labels"]


def _outer(findings: Findings) -> list[Block]:
    """Return the regret of every teacher and search."""
    page: list[Block] = []
    for one in findings.outer:
        names, more = _names(findings), _more(findings)
        head = columns("search", f"best: {names}", f"native: {names}", f"regret on {one.dataset}", text=3)
        rows = (
            (group.group, group.best.numbers(more), group.native.numbers(more), interval(group.regret))
            for group in one.groups
        )
        page += [table(head, rows), *_over(findings, one)]
    return page


def _names(findings: Findings) -> str:
    """Return what the numbers of a point are, in their order."""
    return ", ".join(["T", "alpha", *_more(findings)])


def _more(findings: Findings) -> list[str]:
    return sorted(findings.spec.search.space)


def _over(findings: Findings, one: OuterRegrets) -> list[Block]:
    if findings.spec.outer.teachers == 1 or all(group.regret.is_same_point for group in one.groups):
        return []
    text = f"Over teachers, the searches of each averaged: regret {interval(one.over_teachers)}, n = teachers."
    return [Paragraph(text)]


def _controls(findings: Findings) -> list[Block]:
    """Return what else was tried in the teacher's place; nothing where no control ran."""
    if not findings.controls:
        return []
    rows = ((one.arm, one.dataset, interval(one.gain), interval(one.beyond)) for one in findings.controls)
    return [
        Heading("Controls", level=3),
        table(columns("control", "dataset", "control - scratch", "best - control", text=2), rows),
    ]

"""The page of a report: first the answer, then the numbers, at the foot where it all comes from."""

from collections.abc import Iterable

from kd.config import LOSS_FORMULA
from sweeps.analysis.findings import Findings
from sweeps.analysis.outer import OuterRegrets
from sweeps.analysis.provenance import Machine, Provenance
from sweeps.plan.answer_hash import differing
from sweeps.report import cost_section, markdown, tables
from sweeps.report.document import Answer, Block, Bullets, Heading, Paragraph, columns, table
from sweeps.report.formats import accuracy, interval, point
from sweeps.report.sentences import as_good, explained, identified, looked, sentence, silent


def report(findings: Findings) -> str:
    """Return the report that fits a terminal, as Markdown; unfinished parts say so."""
    return markdown.text(page(findings))


def page(findings: Findings, more: Iterable[Block] = ()) -> list[Block]:
    """Return the whole page.

    Args:
        more: sections of a written report that `report` on the terminal has no time for.
    """
    spec = findings.spec
    differences = ((item.name, item.dataset, interval(item.points)) for item in findings.differences)
    return [
        Heading(title(findings), level=1),
        *note(findings),
        *answer(findings),
        _selected(findings),
        *comparison(findings),
        table(columns("test accuracy, points, paired by seed", "dataset", "difference", text=2), differences),
        *_controls(findings),
        *(_outer(findings.outer) if spec.outer.teachers * spec.outer.searches > 1 else []),
        *cost_section.section(findings),
        *more,
        *_provenance(findings),
        *signature(findings),
    ]


def title(findings: Findings) -> str:
    """Return the title of the page: the sweep and its datasets."""
    spec = findings.spec
    targets = ", ".join(spec.role(role).dataset for role in spec.targets)
    return f"{findings.name}: {spec.source.dataset} -> {targets}"


def signature(findings: Findings) -> list[Block]:
    """Return the answer hash, once every task has ended: another run of the same spec ends in the same one."""
    return [Paragraph(f"answer hash {findings.answer_hash}")] if findings.answer_hash else []


def note(findings: Findings) -> list[Block]:
    """Return the note of the spec, if it has one, on one line."""
    text = " ".join(findings.spec.note.split())
    return [Paragraph(f"Note: {text}")] if text else []


def answer(findings: Findings) -> list[Block]:
    """Return the verdict and what it rests on: the beginning of every report, and the dashboard's note."""
    surfaces = list(findings.surfaces)
    paragraphs = [Answer(f"**{sentence(findings, verdict)}**") for verdict in findings.verdicts]
    paragraphs = [*(Answer(f"**{text}**") for text in silent(findings)), *paragraphs]
    found = (identified(surface, findings.spec) for surface in surfaces)
    points = (*as_good(findings), *found, *explained(findings.controls), looked(findings))
    return [*paragraphs, Bullets(points)]


def comparison(findings: Findings) -> list[Block]:
    """Return the comparison table, and what its numbers are."""
    return [
        table(tables.COMPARISON, map(tables.cells, findings.rows)),
        Paragraph("Mean over seeds with its 95 % t interval. Latency: one image, one thread."),
    ]


def _selected(findings: Findings) -> Bullets:
    items = []
    for role in findings.spec.roles:
        arm = "best" if role == "source" else "native"
        tuned = f"`{arm}` (tuned on {findings.spec.role(role).dataset})"
        chosen = findings.confirmed.get(role)
        if chosen is None:
            items.append(f"{tuned}: not confirmed yet")
            continue
        point, validation = chosen.best.point, accuracy(chosen.best.accuracy)
        items.append(f"{tuned}: T = {point.temperature:.4g}, alpha = {point.alpha:.4g}; validation {validation}")
    return Bullets((*items, f"loss: `{LOSS_FORMULA}`; alpha weighs the labels"))


def _controls(findings: Findings) -> list[Block]:
    """Return what else was tried in the teacher's place; nothing where no control ran."""
    if not findings.controls:
        return []
    rows = ((one.arm, one.dataset, interval(one.gain), interval(one.beyond)) for one in findings.controls)
    return [
        Heading("Controls"),
        table(columns("control", "dataset", "control - scratch", "best - control", text=2), rows),
    ]


def _outer(targets: Iterable[OuterRegrets]) -> list[Block]:
    """Return the regret of every teacher and search."""
    page: list[Block] = [Heading("Other teachers, other searches")]
    for one in targets:
        head = columns("search", "best: T, alpha", "native: T, alpha", f"regret on {one.dataset}", text=3)
        rows = ((group.group, point(group.best), point(group.native), interval(group.regret)) for group in one.groups)
        over = f"Over teachers, the searches of each averaged: regret {interval(one.over_teachers)}, n = teachers."
        page += [table(head, rows), Paragraph(over)]
    return page


def _provenance(findings: Findings) -> list[Block]:
    made = findings.provenance
    spec = f"spec {findings.fingerprint[:12]}, seed {findings.spec.seed}, revision {findings.revision}"
    return [
        Heading("Provenance"),
        Bullets((spec, *_origins(made), *dict.fromkeys(map(_machine, made.machines)), *_numerics(made), _work(made))),
    ]


def _origins(made: Provenance) -> list[str]:
    data = [
        f"{one.dataset}: {one.images} training images; from {one.origin}; content {one.content_hash[:12]},"
        f" split {one.split_hash[:12]}"
        for one in made.data
    ]
    return [*data, *(f"weights of {one.key}: {', '.join(one.files)}" for one in made.weights)]


def _machine(one: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one.versions)
    machine = f"{one.cpu}, {one.cores} cores, {one.threads} thread(s) per worker"
    return f"{machine}; {versions}; commit {one.commit or 'not from a checkout'}"


def _numerics(made: Provenance) -> list[str]:
    if len(made.numerics) > 1:
        return [f"**{differing(made.numerics)}**"]
    return [f"numerics fingerprint {one}" for one in made.numerics]


def _work(made: Provenance) -> str:
    return (
        f"{made.done} of {made.planned} tasks done; {made.wall_s:.0f} s from first to last, {made.work_s:.0f} s of work"
    )

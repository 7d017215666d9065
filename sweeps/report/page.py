"""The page: which parts in which order."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from sweeps.distill import report as cost
from sweeps.distill.spec import formula
from sweeps.findings.findings import Findings
from sweeps.findings.load import Machine, Provenance
from sweeps.findings.rows import Row
from sweeps.findings.secondary import RETAINED, Answer, Question, Share
from sweeps.findings.verdicts import RepeatRegrets
from sweeps.plan.identity import differing
from sweeps.report import answer, markdown, words
from sweeps.report.document import Block, Bullets, Figure, Fold, Heading, Paragraph, columns, table
from sweeps.report.sentences import regret, sentence
from sweeps.report.words import (
    accuracy,
    as_good,
    display_name,
    explained,
    identified,
    in_short,
    interval,
    looked,
    percent_interval,
)
from sweeps.stats.estimates import Estimate, percent
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM

_REASON = 110  # characters of a reason that a table shows


def searches(findings: Findings, figures: Iterable[Block]) -> Fold:
    """Return where the searches looked, what they found, and whether T and alpha matter."""
    blocks: list[Block] = [*figures, Bullets(tuple(_selected(findings)))]
    if findings.spec.outer.teachers * findings.spec.outer.searches > 1:
        blocks += _outer(findings)
    summary = "; ".join(
        f"{words.display_name(one.dataset)}: {said}" for one in findings.surfaces if (said := in_short(one))
    )
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
    return [Heading(f"On {words.display_name(dataset)}", level=3), table(head, cells)]


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
    return f"{words.arm(row.method, source=findings.spec.source.dataset, dataset=row.dataset)} (`{row.method}`)"


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


def _over(findings: Findings, one: RepeatRegrets) -> list[Block]:
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


def provenance(findings: Findings) -> Fold:
    """Return the section."""
    made = findings.provenance
    spec = f"spec {findings.fingerprint[:12]}, seed {findings.spec.seed}, revision {findings.revision}"
    code = [f"code {path}, SHA-256 {digest[:12]}" for path, digest in findings.spec.code.items()]
    items = (spec, *code, *_origins(made), *dict.fromkeys(map(_machine, made.machines)), *_numerics(made), _work(made))
    return Fold("Provenance", "spec, data, machines", (Bullets(items),), printed=True)


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


def report(findings: Findings) -> str:
    """Return the report without figures, as Markdown; unfinished parts say so."""
    return markdown.text(page(findings))


def page(
    findings: Findings,
    *,
    figures: Mapping[str, Figure] | None = None,
    secondary: Iterable[Block] = (),
    methods: Iterable[Block] = (),
) -> list[Block]:
    """Return the whole page.

    Args:
        figures: those that are there, by name; a report on the terminal has none.
        secondary, methods: what a written report has, and `report` on the terminal has no time for.
    """
    figures = figures or {}
    return [
        *note(findings),
        *answer.blocks(findings),
        *further(findings),
        *_shown("What each choice of T and α gains", figures, "gains"),
        *_lost(findings, figures),
        *_shown("What other methods reach", figures, "methods"),
        searches(findings, _figure(figures, "surface")),
        numbers(findings, secondary),
        *cost.section(findings, _figure(figures, "break-even")),
        *methods,
        provenance(findings),
        *signature(findings),
    ]


def title(findings: Findings) -> str:
    """Return the title of the page: the sweep and its datasets."""
    spec = findings.spec
    targets = ", ".join(display_name(spec.role(role).dataset) for role in spec.targets)
    return f"{findings.name}: {display_name(spec.source.dataset)}{f' -> {targets}' if targets else ''}"


def signature(findings: Findings) -> list[Block]:
    """Return the answer hash, once every task has ended: another run of the same spec ends in the same one."""
    return [Paragraph(f"answer hash {findings.answer_hash}")] if findings.answer_hash else []


def note(findings: Findings) -> list[Block]:
    """Return the note of the spec, if it has one, on one line."""
    text = " ".join(findings.spec.note.split())
    return [Paragraph(f"Note: {text}")] if text else []


def further(findings: Findings) -> list[Block]:
    """Return the verdicts on targets that the headline is not about."""
    return [Paragraph(sentence(findings, one)) for one in findings.verdicts[1:]]


def _lost(findings: Findings, figures: Mapping[str, Figure]) -> list[Block]:
    """Return the regret, with what its interval covers."""
    said = regret(findings.verdicts[0]) if findings.verdicts else ""
    if not said:
        return []
    heading = f"What is lost by not tuning on {display_name(findings.verdicts[0].dataset)}"
    return [Heading(heading), *_figure(figures, "regret"), Paragraph(said)]


def _shown(heading: str, figures: Mapping[str, Figure], name: str) -> list[Block]:
    found = _figure(figures, name)
    return [Heading(heading), *found] if found else []


def _figure(figures: Mapping[str, Figure], name: str) -> list[Block]:
    return [figures[name]] if name in figures else []


_COLUMNS = columns("question", "dataset", "answer", "p", "p (Holm)", "95 % BCa interval", "p (sign flips)", text=2)


def secondary_blocks(asked: Sequence[Question]) -> list[Block]:
    """Return the questions and their answers; nothing where no question can be answered."""
    if not asked:
        return []
    tests = sum(one.p is not None for one in asked)
    untested = "" if tests == len(asked) else " Trainings at the same point are not compared with themselves."
    return [
        Heading("Secondary questions", level=3),
        table(_COLUMNS, map(_question_cells, asked)),
        Paragraph(
            f"Differences are points of test accuracy, paired by seed. Holm's p adjusts for all {tests} questions"
            f" together.{untested} BCa intervals are given from {BCA_FROM} seeds on, sign-flip tests from"
            f" {SIGN_FLIP_FROM} on; for the retained share, both are of best's gain minus {percent(RETAINED):.0f} % of"
            " native's gain."
        ),
    ]


def answer_text(answer: Answer) -> str:
    """Return an answer in words, with its unit."""
    return _share(answer.share) if isinstance(answer, Share) else interval(answer)


def _share(share: Estimate | None) -> str:
    if share is None or share.low is None or share.high is None:
        return "no share: native was not found to gain"
    return f"{percent_interval(share.mean, share.low, share.high)} (n={share.n})"


def _question_cells(one: Question) -> list[str]:
    bca = "" if one.bca is None or one.bca[0] == one.bca[1] else f"[{one.bca[0]:+.2f}, {one.bca[1]:+.2f}]"
    flips = "" if one.sign_flip is None else _p(one.sign_flip)
    return [one.name, one.dataset, answer_text(one.answer), _p(one.p), _p(one.p_holm), bca, flips]


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

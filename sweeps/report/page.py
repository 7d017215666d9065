"""Compose the page of a report from its parts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sweeps.findings.findings import Findings
from sweeps.findings.load import Machine
from sweeps.findings.rows import Row
from sweeps.findings.secondary import RETAINED, Answer, Question, Share
from sweeps.plan.identity import differing
from sweeps.report import answer, choice, markdown, words
from sweeps.report.document import Block, Bullets, Column, Figure, Fold, Heading, Paragraph, columns, table
from sweeps.report.sentences import regret, sentence
from sweeps.spec.model import Spec
from sweeps.spec.tables import Group
from sweeps.stats.estimates import Paired, percent
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM
from sweeps.terminal import p_value
from sweeps.trainers.protocol import label
from sweeps.trainers.score import Score

_COLUMNS = columns("question", "dataset", "answer", "p", "p (Holm)", "95 % BCa interval", "p (sign flips)", text=2)


def report(findings: Findings) -> str:
    return markdown.text(page(findings))


def page(
    findings: Findings,
    *,
    figures: Iterable[Figure] = (),
    secondary: Iterable[Block] = (),
    methods: Iterable[Block] = (),
) -> list[Block]:
    """Return the whole page.

    figures: placed by slot: "strategies" in the answer; "gains" and "regret", the evidence of a verdict, below it or,
    under rule 3, among all numbers; then "surfaces" and "others"; "cost" in its fold. secondary, methods: blocks that
    take too long for `report` on a terminal.
    """
    slots: dict[str, list[Block]] = defaultdict(list)
    for figure in figures:
        slots[figure.slot] += [*([Heading(figure.heading)] if figure.heading else []), figure]
    evidence = [*slots["gains"], *_lost(findings, slots["regret"])]
    return [
        *note(findings),
        *answer.blocks(findings, slots["strategies"]),
        *further(findings),
        *([] if findings.choices else evidence),
        *slots["surfaces"],
        *slots["others"],
        searches(findings),
        numbers(findings, [*(evidence if findings.choices else []), *secondary]),
        *findings.spec.kind.report().cost(findings, slots["cost"]),
        *methods,
        provenance(findings),
        *signature(findings),
    ]


def title(findings: Findings) -> str:
    return f"{findings.name}: {words.direction(findings.spec)}"


def signature(findings: Findings) -> list[Block]:
    return [Paragraph(f"answer hash {findings.answer_hash}")] if findings.answer_hash else []


def note(findings: Findings) -> list[Block]:
    text = " ".join(findings.spec.note.split())
    return [Paragraph(f"Note: {text}")] if text else []


def further(findings: Findings) -> list[Block]:
    if findings.choices:
        return [
            Paragraph(f"**On {words.display_name(role.dataset)}.** {answer.in_full(findings, role)}")
            for role in findings.choices[1:]
        ]
    return [Paragraph(sentence(findings, verdict)) for verdict in findings.verdicts[1:]]


def _lost(findings: Findings, figures: Iterable[Block]) -> list[Block]:
    for target in findings.verdicts[:1]:
        if text := regret(findings.spec, target):
            heading = f"What is lost by not tuning on {words.display_name(target.dataset)}"
            return [Heading(heading), *figures, Paragraph(text)]
    return []


def searches(findings: Findings) -> Fold:
    blocks: list[Block] = [Bullets(tuple(_selected(findings)))]
    if findings.spec.outer.teachers * findings.spec.outer.searches > 1:
        blocks += _outer(findings)
    return Fold("The searches", "; ".join(words.effects(findings)), tuple(blocks), printed=True)


def numbers(findings: Findings, more: Iterable[Block]) -> Fold:
    blocks: list[Block] = [answer.badge(findings)] if findings.choices else []
    for compared in findings.choices:
        if choice.rows(findings, compared):
            heading = f"Strategies on {words.display_name(compared.dataset)}"
            blocks += [Heading(heading, level=3), choice.strategies(findings, compared)]
    blocks += [Paragraph(sentence(findings, verdict)) for verdict in findings.verdicts]
    # Of the first search only; the strategies are over all.
    as_good = [] if findings.choices else words.as_good(findings)
    remarks = [findings.spec.score.remark] if findings.spec.score.remark else []
    blocks.append(Bullets((*as_good, *words.explained(findings), words.looked(findings), *remarks)))
    for role in findings.report_roles:
        blocks += scores(findings, role)
    blocks += [*_controls(findings), *more]
    return Fold("All numbers", f"{findings.spec.score.plural}, differences, tests", tuple(blocks), printed=True)


def scores(findings: Findings, role: str) -> list[Block]:
    dataset, score = findings.spec.role(role).dataset, findings.spec.score
    rows = [row for row in findings.rows if row.dataset == dataset]
    has_status = any(row.status != "done" for row in rows)
    levels = [score.head(title) for title in ("validation", "test")]
    heads = columns("method", _names(findings), *levels, f"{score.less('this')}{score.behind}", text=2)
    leads = {item.name: item.points for item in findings.differences if item.dataset == dataset}
    cells = [_cells(findings, role, row, leads.get(f"best - {row.method}")) for row in rows]
    if has_status:
        heads = (*heads, Column("status"))
        statuses = ("" if row.status == "done" else words.shortened(row.status) for row in rows)
        cells = [[*row, status] for row, status in zip(cells, statuses, strict=True)]
    return [Heading(f"On {words.display_name(dataset)}", level=3), table(heads, cells)]


def _cells(findings: Findings, role: str, row: Row, lead: Paired | None) -> list[str]:
    return [
        _method(findings, role, row),
        "" if row.point is None else row.point.numbers(findings.spec.kind.space(findings.spec)),
        words.level(findings.spec.score, row.validation),
        words.level(findings.spec.score, row.test),
        "" if lead is None else words.interval(findings.spec.score, lead),
    ]


def _method(findings: Findings, role: str, row: Row) -> str:
    """Return the label of a method with its key in `trials` and the CSV."""
    if row.kind == "teacher":
        return ", ".join(words.model(findings.spec, role, row))
    if row.kind == "arm":
        return f"{words.arm(findings.spec, row.method, row.dataset)} (`{row.method}`)"
    label = findings.spec.kind.report().display(row.method)
    key = "" if label == row.method else f"`{row.method}`"
    return ", ".join(filter(None, (label, key, row.detail)))


def _selected(findings: Findings) -> list[str]:
    items = []
    for role in findings.spec.roles:
        arm, chosen = "best" if role == "source" else "native", findings.confirmed.get(role)
        text = "not confirmed yet"
        if chosen is not None:
            score = findings.spec.score
            text = f"{chosen.best.point.text()}; validation {words.level(score, chosen.best.accuracy, score.unit)}"
        items.append(f"`{arm}`, tuned on {words.display_name(findings.spec.role(role).dataset)}: {text}")
    items += [line for surface in findings.surfaces if (line := words.identified(surface, findings.spec))]
    return [*items, *findings.spec.kind.report().notes(findings.spec)]


def _outer(findings: Findings) -> list[Block]:
    blocks: list[Block] = []
    score = findings.spec.score
    for target in findings.outer:
        names, space = _names(findings), findings.spec.kind.space(findings.spec)
        regret = f"regret on {words.display_name(target.dataset)}{score.behind}"
        head = columns("search", f"best: {names}", f"native: {names}", regret, text=3)
        rows = (
            (
                _search(findings, group.group),
                group.best.numbers(space),
                group.native.numbers(space),
                words.interval(score, group.regret),
            )
            for group in target.groups
        )
        blocks.append(table(head, rows))
        if findings.spec.outer.teachers > 1 and not all(group.regret.is_same_point for group in target.groups):
            over_teachers = f"regret {words.interval(score, target.over_teachers)}, n = teachers"
            blocks.append(Paragraph(f"Over teachers, averaged over their searches: {over_teachers}."))
    return blocks


def _search(findings: Findings, tag: str) -> str:
    """Return the number of a search, with its key in `trials` and the CSV."""
    group, prepares = Group.parse(tag), findings.spec.kind.features.prepares
    several = findings.spec.outer.teachers > 1
    name = f"{prepares} {group.prepared + 1}, search {group.search + 1}" if several else f"{group.search + 1}"
    return f"{name} (`{group.tag}`)" if group.tag else name


def _names(findings: Findings) -> str:
    return ", ".join(label(name) for name in findings.spec.kind.space(findings.spec))


def _controls(findings: Findings) -> list[Block]:
    if not findings.controls:
        return []
    spec, score = findings.spec, findings.spec.score
    leads = [f"{lead}{score.behind}" for lead in (f"control - {spec.kind.features.without}", score.less("control"))]
    heads = columns("control", "dataset", *leads, text=2)
    rows = [
        (
            words.arm(spec, row.arm, row.dataset),
            words.display_name(row.dataset),
            words.interval(score, row.gain),
            words.interval(score, row.beyond),
        )
        for row in findings.controls
    ]
    return [Heading("Controls", level=3), table(heads, rows)]


def provenance(findings: Findings) -> Fold:
    origin = findings.provenance
    numerics = [f"numerics fingerprint {fingerprint}" for fingerprint in origin.numerics]
    items = (
        f"spec {findings.fingerprint[:12]}, seed {findings.spec.seed}, revision {findings.revision}",
        *(f"code {path}, SHA-256 {digest[:12]}" for path, digest in findings.spec.code.items()),
        *(
            f"{data.dataset}: {data.images} training images; from {data.origin}; content {data.content_hash[:12]},"
            f" split {data.split_hash[:12]}"
            for data in origin.data
        ),
        *(f"weights of {weights.key}: {', '.join(weights.files)}" for weights in origin.weights),
        *dict.fromkeys(map(_machine, origin.machines)),
        *([f"**{differing(origin.numerics)}**"] if len(numerics) > 1 else numerics),
        f"{origin.done} of {origin.planned} tasks done; {origin.wall_s:.0f} s from first to last,"
        f" {origin.work_s:.0f} s of work",
    )
    return Fold("Provenance", "spec, data, machines", (Bullets(items),), printed=True)


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions)
    cores = f"{machine.cores} cores, {machine.threads} thread(s) per worker"
    return f"{machine.cpu}, {cores}; {versions}; commit {machine.commit or 'not from a checkout'}"


def secondary_blocks(spec: Spec, questions: Sequence[Question]) -> list[Block]:
    if not questions:
        return []
    score = spec.score
    tests = sum(question.p is not None for question in questions)
    differences = score.differences("test") if score.difference else f"of {score.differences('test')}"
    untested = "" if tests == len(questions) else " Identical trainings are not compared."
    adjusted = "the one question" if tests == 1 else f"all {tests} questions"
    return [
        Heading("Secondary questions", level=3),
        table(_COLUMNS, [_question_cells(spec, question) for question in questions]),
        Paragraph(
            f"Differences are {differences}, paired by seed. Holm's p adjusts for {adjusted}.{untested} BCa"
            f" intervals are given from {BCA_FROM} seeds on, sign-flip tests from {SIGN_FLIP_FROM} on; for the retained"
            f" share, both are of best's gain minus {percent(RETAINED):.0f} % of native's gain."
        ),
    ]


def answer_text(score: Score, answer: Answer) -> str:
    if not isinstance(answer, Share):
        return words.interval(score, answer)
    share = answer.share
    if share is None or share.low is None or share.high is None:
        return "no share: native does not measurably gain"
    return f"{words.percent_interval(share.mean, share.low, share.high)} (n={share.n})"


def _question_cells(spec: Spec, question: Question) -> list[str]:
    score, bca, rival = spec.score, question.bca, question.rival
    name = words.arm(spec, rival, question.dataset).removesuffix(", untuned") if rival else ""
    return [
        f"{question.name}{f': {score.less(name)}' if rival else ''}",
        words.display_name(question.dataset),
        answer_text(score, question.answer),
        p_value(question.p),
        p_value(question.p_holm),
        "" if bca is None or bca[0] == bca[1] else "[{}, {}]".format(*(words.exact(score, end, "+") for end in bca)),
        p_value(question.sign_flip),
    ]

"""Write a comparison of sweeps: page, tables, CSV, JSON."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.extensions import require
from sweeps.findings.compare import Absent, Compared, Number, Pair, Standing
from sweeps.findings.findings import Findings
from sweeps.findings.load import Provenance
from sweeps.plan.phases import repeat_of
from sweeps.query.listing import TrialRow
from sweeps.report import folder, markdown, words
from sweeps.report.document import Block, Column, Figure, Heading, Paragraph, Table, columns, table
from sweeps.report.words import amount, between, compared_with, display_name, interval, level, number
from sweeps.spec.model import Spec
from sweeps.stats.estimates import Estimate
from sweeps.terminal import joined, p_equals, p_value, truncated
from sweeps.trainers.score import Score

PAGE = "compare.html"
LEVEL = 0.05  # family-wise, over all pairs
_MOST_SAID = 3  # sweeps or pairs in a sentence
_LONGEST = 60  # characters of a value of a spec
_FIRST = ("sweep", "task", "dataset", "role", "stage", "arm", "repeat", "seed", "temperature", "alpha")
_LAST = ("val_accuracy", "test_accuracy", "train_s", "cpu_s")
_NOT_TRAINED = "measure"  # the only stage without training


def text(comparison: Compared) -> str:
    return markdown.text(page(comparison))


def title(comparison: Compared) -> str:
    return f"{', '.join(comparison.names)} compared"


def page(comparison: Compared, *, figure: Figure | None = None) -> list[Block]:
    shown, why = conclusion(comparison)
    return [
        Paragraph(f"Comparison of {', '.join(comparison.names)}.", small=True),
        Heading(shown, level=1),
        *([Paragraph(why, lead=True)] if why else []),
        overview(comparison),
        *([figure] if figure is not None else []),
        *by_dataset(comparison),
        *_pairs(comparison),
        *_differing(comparison),
        *(Paragraph(remark, small=True) for remark in remarks(comparison)),
    ]


def overview(comparison: Compared) -> Table:
    heads = (*columns("sweep", "direction", "best point", "tasks done", "cost", text=3), Column("status"))
    known = {findings.name: findings for findings in comparison.sweeps}
    return table(heads, [_overview(name, known.get(name)) for name in comparison.names])


def _overview(name: str, findings: Findings | None) -> list[str]:
    if findings is None:
        return [name, *[Absent.YET.value] * 2, "0", "", "nothing has finished yet"]
    chosen, origin = findings.confirmed.get("source"), findings.provenance
    point = Absent.YET.value if chosen is None else chosen.best.point.text()
    tasks, status = f"{origin.done:,} of {origin.planned:,}", "done" if findings.answer_hash else "not finished"
    return [name, words.direction(findings.spec), point, tasks, work(origin), status]


def work(origin: Provenance) -> str:
    if origin.threads == ["1"]:
        return f"{origin.work_s:,.0f} core-s"
    return f"{origin.work_s:,.0f} s of workers with {' or '.join(origin.threads)} threads"


def by_dataset(comparison: Compared) -> list[Block]:
    blocks: list[Block] = []
    without, default = compared_with(comparison.sweeps)
    score = comparison.score
    differences = (score.less(without), score.less(default), "regret: native - best")
    heads = columns(
        *("sweep", "role", *(f"{title}{score.behind}" for title in differences)),
        f"{score.head('test')} of best",
        "s per training",
        text=2,
    )
    for dataset in comparison.datasets:
        rows = [cells(comparison.score, standing) for standing in comparison.standings if standing.dataset == dataset]
        blocks += [Heading(f"On {display_name(dataset)}"), table(heads, rows)]
    return blocks


def cells(score: Score, standing: Standing) -> list[str]:
    """Return sweep, role, gain, tuning, regret, test score and seconds of a training as text."""
    values = [
        value.value if isinstance(value, Absent) else interval(score, value)
        for value in (standing.gain, standing.tuning, standing.regret)
    ]
    test = standing.test.value if isinstance(standing.test, Absent) else level(score, standing.test)
    return [standing.sweep, standing.role, *values, test, number(standing.train_s, ".2f") or Absent.YET.value]


def pair_cells(score: Score, pair: Pair) -> list[str]:
    """Return the sweeps, dataset, difference, p and adjusted p of a pair as text."""
    text = pair.why if pair.difference is None else interval(score, pair.difference)
    return [f"{pair.first} - {pair.second}", display_name(pair.dataset), text, p_value(pair.p), p_value(pair.p_holm)]


def differing(comparison: Compared) -> Table:
    heads: Sequence[Column] = [Column(title) for title in ("key", *(findings.name for findings in comparison.sweeps))]
    return table(heads, [(f"`{key}`", *map(_value, values)) for key, values in comparison.differing.items()])


def _value(value: Any) -> str:
    # As in TOML; cut if too long, such as a hash.
    if value is None:
        return "none"
    return truncated(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _LONGEST)


def conclusion(comparison: Compared) -> tuple[str, str]:
    """Return what is shown, without numbers, and the numbers behind it or what stands in their way."""
    score, pairs, pending = comparison.score, comparison.pairs, comparison.pending
    if not pairs:
        if pending:
            return "Nothing to compare yet.", f"No task of {joined(pending, 'or')} has finished."
        return "Nothing to compare: no dataset in common.", ""
    tested = [(pair.p_holm, pair.p, pair) for pair in pairs if pair.p is not None and pair.p_holm is not None]
    if not tested:
        if all(pair.why == Absent.YET for pair in pairs):
            return "Nothing to compare yet.", "On no shared dataset is the planned evaluation of both sweeps complete."
        why = "; ".join(dict.fromkeys(pair.why or _untested(pair) for pair in pairs))
        return "No direct comparison is possible.", f"{why[0].upper()}{why[1:]}."
    ordered = [pair for _, _, pair in sorted(tested, key=lambda item: item[:2])]  # the clearest first
    if clear := ordered[: sum(p < LEVEL for p, _, _ in tested)]:
        more = f" {len(clear) - _MOST_SAID} more in the table." if len(clear) > _MOST_SAID else ""
        leads = (f"On {_lead(score, pair, len(tested))}." for pair in clear[:_MOST_SAID])
        return _better(clear), " ".join(leads) + more
    names = dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))
    difference, text = ordered[0].difference, f"The clearest is on {_lead(score, ordered[0], len(tested))}."
    if difference is not None and difference.low is not None and not difference.low <= 0 <= (difference.high or 0.0):
        text += f" A sweep is called better below p = {LEVEL:g}."  # the interval alone would suggest a difference
    return f"No clear difference between {joined(names) if len(names) == 2 else 'any two of these sweeps'}.", text


def _better(clear: Sequence[Pair]) -> str:
    """Return who is better than whom and where, or how many pairs differ where that is long."""
    datasets, worse = defaultdict[tuple[str, str], list[str]](list), defaultdict[tuple[str, str], list[str]](list)
    for pair in clear:
        datasets[_ordered(pair)].append(display_name(pair.dataset))
    for (better, other), where in datasets.items():
        worse[better, joined(where)].append(other)
    if len(worse) > 2 or max(map(len, worse.values())) > _MOST_SAID:
        return f"{len(clear)} differences are beyond the noise."
    return " ".join(f"{better} is better than {joined(others)} on {on}." for (better, on), others in worse.items())


def _ordered(pair: Pair) -> tuple[str, str]:
    is_behind = pair.difference is not None and pair.difference.mean < 0
    return (pair.second, pair.first) if is_behind else (pair.first, pair.second)


def _lead(score: Score, pair: Pair, tests: int) -> str:
    """Return "CIFAR-10: a is 3.0 points better than b (95 % CI 1.4 to 4.6, p = 0.017 after Holm)"."""
    assert pair.difference is not None
    difference: Estimate = pair.difference if pair.difference.mean >= 0 else pair.difference.negated
    better, worse = _ordered(pair)
    limits, p = between(score, difference, ""), f"{p_equals(pair.p_holm)}{' after Holm' if tests > 1 else ''}"
    numbers = [f"95 % CI {limits}", p] if limits else [p]
    lead = f"{amount(score, difference, '')} better than {worse} ({', '.join(numbers)})"
    return f"{display_name(pair.dataset)}: {better} is {lead}"


def _untested(pair: Pair) -> str:
    if pair.difference is not None and pair.difference.is_same_point:
        return "their trainings are the same"
    return "one shared seed is no test"


def _pairs(comparison: Compared) -> list[Block]:
    if not comparison.pairs:
        return []
    tests = sum(pair.p is not None for pair in comparison.pairs)
    note = (
        "`best` of the first sweep minus `best` of the second, paired by common seeds. The 95 % t interval covers these"
        " seeds, not other searches."
        f" Holm adjusts p for {'the one test' if tests == 1 else f'all {tests} tests'} above. These"
        " comparisons were not planned in advance and change no sweep's verdict."
    )
    score = comparison.score
    heads = columns("first - second", "dataset", f"difference of best{score.behind}", "p", "p, Holm", text=2)
    blocks: list[Block] = [
        Heading("Sweep against sweep"),
        table(heads, [pair_cells(score, pair) for pair in comparison.pairs]),
    ]
    return [*blocks, Paragraph(note, small=True)] if tests else blocks


def _differing(comparison: Compared) -> list[Block]:
    if len(comparison.sweeps) < 2:
        return []
    heading = Heading("What differs between their specs")
    if not comparison.differing:
        return [heading, Paragraph("Nothing; they are the same experiment.")]
    return [heading, differing(comparison)]


def remarks(comparison: Compared) -> Iterable[str]:
    score = comparison.score
    of = f"{score.of_difference} of the test set" if score.difference else f"of the test {score.name}"
    yield (
        f"Differences are {of} with their 95 % t interval, shown once a sweep's planned evaluation on that set is"
        " complete. Cost: the summed time of finished tasks, in core-seconds (core-s) if every worker has one thread."
    )
    if score.remark:
        yield score.remark
    if apart := words.seconds_not_compared(comparison.machine_kinds):
        yield apart


def long_csv(sweeps: Sequence[tuple[str, Spec, Sequence[TrialRow]]]) -> str:
    """Return one line per finished training, by sweep and in the order of the plan.

    Scores are the trainer's own, in columns with their name; accuracies are fractions in [0, 1]. Times are seconds.
    Parameters beyond T and alpha have a column each, between alpha and val_accuracy. repeat: for confirm and transfer.
    Cells that do not apply are empty, and test_accuracy is while the look at that dataset is incomplete.
    """
    rows = [_line(name, spec, row) for name, spec, its_rows in sweeps for row in its_rows if _is_training(row)]
    more = list(dict.fromkeys(key for row in rows for key in row if key not in (*_FIRST, *_LAST)))
    out, score = io.StringIO(), sweeps[0][1].score  # all sweeps have the same score
    writer = csv.DictWriter(out, [*map(score.column, (*_FIRST, *more, *_LAST))], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(score.written, rows))
    return out.getvalue()


def _is_training(row: TrialRow) -> bool:
    return row.state == "done" and row.stage != _NOT_TRAINED


def _line(name: str, spec: Spec, row: TrialRow) -> Mapping[str, Any]:
    roles = {spec.role(role).dataset: role for role in spec.roles}
    return {
        "sweep": name,
        "role": roles.get(row.dataset or ""),
        "repeat": repeat_of(row.task),
        "val_accuracy": row.score,
        **{key: getattr(row, key) for key in (*_FIRST, *_LAST) if hasattr(row, key)},
        **row.more,
    }


def write(comparison: Compared, trainings: str, directory: Path) -> Path:
    """Write the comparison into a folder, like `sweeps.report.folder.write`; return the path of its compare.html."""
    require("report", "compare --output")
    from sweeps.report.figures import forest  # here: matplotlib takes a second, and text does without

    figures = (f"figures/{name}.svg" for name in (forest.NAME, forest.NARROW))
    folder.replace_files(lambda: files(comparison, trainings), directory, what="comparison", stale=figures)
    return directory / PAGE


def files(comparison: Compared, trainings: str) -> dict[str, str]:
    from sweeps.report import html_page  # here, with Jinja2: only a page needs it
    from sweeps.report.figures import forest

    figures = forest.draw(comparison)
    figure = Figure(forest.NAME, forest.ALT, forest.caption(comparison), narrow=forest.NARROW) if figures else None
    blocks = page(comparison, figure=figure)
    return {
        **{f"figures/{name}.svg": text for name, text in figures.items()},
        "compare.csv": trainings,
        "compare.md": f"{markdown.text(blocks)}\n",
        PAGE: html_page.html(blocks, title=title(comparison), figures=figures),
    }


def json_data(comparison: Compared) -> dict[str, Any]:
    """Return the comparison as JSON; a missing number is null, and `absent` of its standing says why."""
    names = [findings.name for findings in comparison.sweeps]
    headline, reason = conclusion(comparison)
    return {
        "sweeps": list(comparison.names),
        "pending": list(comparison.pending),
        "headline": headline,
        "reason": reason,
        "standings": [
            {name: getattr(standing, name) for name in ("sweep", "role", "dataset", "train_s")}
            | {"point": None if standing.point is None else standing.point.as_dict()}
            | _numbers(gain=standing.gain, tuning=standing.tuning, regret=standing.regret, test=standing.test)
            for standing in comparison.standings
        ],
        "costs": [
            {"sweep": findings.name, "work_s": origin.work_s, "threads": origin.threads}
            | {"done": origin.done, "planned": origin.planned, "core_seconds": origin.threads == ["1"]}
            for findings in comparison.sweeps
            for origin in (findings.provenance,)
        ],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "differing": {key: dict(zip(names, values, strict=True)) for key, values in comparison.differing.items()},
        "answer_hashes": {findings.name: findings.answer_hash for findings in comparison.sweeps},
    }


def _numbers(**numbers: Number) -> dict[str, Any]:
    known = {name: asdict(value) if isinstance(value, Estimate) else None for name, value in numbers.items()}
    return known | {"absent": {name: str(value) for name, value in numbers.items() if known[name] is None}}

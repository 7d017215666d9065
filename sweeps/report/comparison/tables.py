"""The tables of a comparison: a line for each sweep, each pair and each key in which the specs differ."""

import json
from collections.abc import Sequence
from typing import Any

from sweeps.analysis.compared.compared import Compared
from sweeps.analysis.compared.pairs import Pair
from sweeps.analysis.compared.standings import Absent, Cost, Number, Standing
from sweeps.analysis.findings import Findings
from sweeps.report.document import Block, Column, Heading, Table, columns, table
from sweeps.report.formats import accuracy, interval, number
from sweeps.report.names import called

_LONGEST = 60  # characters of a value of a spec


def overview(found: Compared) -> Table:
    """Return what each sweep is and what it cost; those without a result are there, too."""
    heads = (
        *columns("sweep", "direction", "best point", "tasks done", "cost", text=3),
        Column("status"),
    )
    known = {one.name: (one, cost) for one, cost in zip(found.sweeps, found.costs, strict=True)}
    return table(heads, [_overview(name, known.get(name)) for name in found.names])


def _overview(name: str, known: tuple[Findings, Cost] | None) -> list[str]:
    if known is None:
        return [name, *[Absent.YET.value] * 2, "0", "", "nothing has finished yet"]
    findings, cost = known
    chosen = findings.confirmed.get("source")
    point = Absent.YET.value if chosen is None else chosen.best.point.text()
    tasks = f"{cost.done:,} of {cost.planned:,}"
    return [name, direction(findings), point, tasks, work(cost), "done" if findings.finished else "not finished"]


def direction(findings: Findings) -> str:
    """Return where T and alpha come from and go to: "MNIST -> CIFAR-10"; one dataset alone has no arrow."""
    spec = findings.spec
    return " -> ".join(called(spec.role(role).dataset) for role in spec.roles)


def work(cost: Cost) -> str:
    """Return what a sweep cost so far, with the threads of its workers where those have not one each."""
    if cost.core_seconds:
        return f"{cost.work_s:,.0f} core-s"
    return f"{cost.work_s:,.0f} s of workers with {' or '.join(cost.threads)} threads"


def by_dataset(found: Compared) -> list[Block]:
    """Return a table for each dataset, with a line for each sweep that has it."""
    blocks: list[Block] = []
    heads = columns(
        *("sweep", "role", "best - no teacher", "best - default-keras", "regret: native - best", "test % of best"),
        "s per training",
        text=2,
    )
    for dataset in found.datasets:
        rows = [_cells(one) for one in found.standings if one.dataset == dataset]
        blocks += [Heading(f"On {called(dataset)}"), table(heads, rows)]
    return blocks


def _cells(one: Standing) -> list[str]:
    points = [shown(value) for value in (one.gain, one.tuning, one.regret)]
    test = one.test.value if isinstance(one.test, Absent) else accuracy(one.test)
    return [one.sweep, one.role, *points, test, number(one.train_s, ".2f") or Absent.YET.value]


def shown(value: Number) -> str:
    """Return accuracy points with their interval, or why there are none."""
    return value.value if isinstance(value, Absent) else interval(value)


def pairs(found: Compared) -> Table:
    """Return the differences between the students of two sweeps."""
    heads = columns("first - second", "dataset", "difference of best, points", "p", "p, Holm", text=2)
    return table(heads, [_pair(one) for one in found.pairs])


def _pair(one: Pair) -> list[str]:
    said = one.why if one.difference is None else interval(one.difference)
    return [f"{one.first} - {one.second}", called(one.dataset), said, p_value(one.p), p_value(one.p_holm)]


def p_value(value: float | None) -> str:
    """Return a p value with two digits; nothing where there is none."""
    if value is None:
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def differing(found: Compared) -> Table:
    """Return the keys in which the specs differ, with a column for each sweep."""
    heads: Sequence[Column] = [Column(title) for title in ("key", *(one.name for one in found.sweeps))]
    return table(heads, [(f"`{one.key}`", *map(_value, one.values)) for one in found.differing])


def _value(value: Any) -> str:
    """Return a value of a spec as TOML has it; one that is too long, such as a hash, by its beginning."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

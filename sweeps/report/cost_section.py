"""What each method costs, and when to use which: the numbers beside each other, never one rank for all of them."""

from collections.abc import Callable, Sequence

from sweeps.analysis.analysis import Analysis
from sweeps.analysis.comparison import Comparison, Row
from sweeps.analysis.cost import break_even, machines, said
from sweeps.report.markdown_tables import number, table
from sweeps.spec.arms import CONTROLS
from sweeps.stats.pareto import pareto_front

_HEAD = (
    "method",
    "dataset",
    "MACs (million)",
    "file KB",
    "int8 KB",
    "int8 test %",
    "latency ms p50 / p95",
    "images/s",
    "train wall s",
    "train CPU s",
    "+ teacher and search CPU s",
)


def section(found: Analysis) -> list[str]:
    """The cost table and the advice, as Markdown; nothing before the models were measured."""
    rows = [row for row in found.comparison.rows() if row.measured]
    if not rows:
        return []
    page = [
        "## Cost",
        "",
        *table(_HEAD, map(_cells, rows)),
        "",
        "MACs and latency are from the image as it is stored to the scores, resizing included: one image, one thread."
        " images/s: batches of 256. The students of one dataset share one network, and were measured once. int8 test:"
        " of the one student that was kept; of large networks on fewer, evenly spaced images."
        + "".join(f" int8 of {row.method}: {why}." for row in rows if (why := row.measured.get("int8_reason"))),
        "",
    ]
    kinds = machines(found.comparison.tasks)
    if len(kinds) > 1:
        page += [
            f"**Seconds are not compared**: the tasks ran on {len(kinds)} kinds of machine"
            f" ({'; '.join(f'{cpu}, {threads} thread(s)' for cpu, threads in sorted(kinds))}).",
            "",
        ]
    page += ["## When to use what", ""]
    for role in found.spec.roles:
        page += _advice(found.comparison, role, rows, same_machine=len(kinds) == 1)
    return page


def _advice(comparison: Comparison, role: str, measured: Sequence[Row], *, same_machine: bool) -> list[str]:
    dataset = comparison.spec.role(role).dataset
    rows = [row for row in measured if row.dataset == dataset and _usable(row)]
    if not rows:
        return []
    smallest, fastest = _least(rows, _kilobytes), _least(rows, _latency)
    page = [
        f"On {dataset}:",
        "",
        f"- most accurate: {_named(max(rows, key=_accuracy))}",
        f"- smallest file: {_named(smallest)}, {_kilobytes(smallest):,.0f} KB",
        f"- fastest: {_named(fastest)}, {_latency(fastest):.2f} ms",
        f"- nothing is both faster and more accurate: {_front(rows, _latency)}",
    ]
    if same_machine:
        cheapest = min(rows, key=_cpu_s)
        page.append(f"- cheapest to train: {_named(cheapest)}, {_cpu_s(cheapest):.0f} CPU s")
        page.append(f"- nothing is both cheaper to train and more accurate: {_front(rows, _cpu_s)}")
    even = break_even(comparison, role)
    return [*page, *([f"- {said(even)}"] if even else []), ""]


def _usable(row: Row) -> bool:
    """What a person would deploy: not the arms that are there to explain the others."""
    return row.test is not None and row.method not in (*CONTROLS, "random")


def _front(rows: Sequence[Row], cost: Callable[[Row], float]) -> str:
    front = pareto_front([(cost(row), _accuracy(row)) for row in rows])
    return ", ".join(f"{rows[index].method} ({100 * _accuracy(rows[index]):.1f} %)" for index in front)


def _least(rows: Sequence[Row], cost: Callable[[Row], float]) -> Row:
    """The row that costs least; among equals (students share one network) the most accurate."""
    return min(rows, key=lambda row: (cost(row), -_accuracy(row)))


def _named(row: Row) -> str:
    detail = f" ({row.detail})" if row.detail else ""
    return f"{row.method}{detail}, {100 * _accuracy(row):.2f} % (n={row.test.n if row.test else 0})"


def _kilobytes(row: Row) -> float:
    return float(row.measured["bytes"]) / 1000


def _latency(row: Row) -> float:
    return float(row.measured["latency_ms_p50"])


def _accuracy(row: Row) -> float:
    return row.test.mean if row.test else 0.0


def _cpu_s(row: Row) -> float:
    return (row.train_cpu_s or 0.0) + (row.shared_cpu_s or 0.0)


def _cells(row: Row) -> list[str]:
    found = row.measured
    return [
        row.method,
        row.dataset,
        number(found.get("macs"), ",.2f", 1e-6),
        number(found.get("bytes"), ",.0f", 1e-3),
        number(found.get("int8_bytes"), ",.0f", 1e-3),
        number(found.get("int8_test_accuracy"), ".2f", 100),
        f"{found['latency_ms_p50']:.2f} / {found['latency_ms_p95']:.2f}",
        number(found.get("images_per_s"), ",.0f"),
        number(row.train_s, ".1f"),
        number(row.train_cpu_s, ".1f"),
        number(row.shared_cpu_s, ".0f"),
    ]

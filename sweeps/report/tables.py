"""The comparison as cells of a table, and for other programs: every training as CSV, the table as LaTeX."""

import csv
import io
import textwrap
from collections.abc import Sequence
from typing import Any

from sweeps.analysis.comparison import Row
from sweeps.analysis.findings import Findings
from sweeps.analysis.trainings import Training, Tried, awaited
from sweeps.plan.space import trained_with
from sweeps.plan.states import shown_state
from sweeps.report.document import Column, columns
from sweeps.report.formats import accuracy, number

_REASON = 110  # characters of a reason that a table shows

COMPARISON = (
    *columns(
        "method",
        "dataset",
        "validation %",
        "test %",
        "parameters",
        "file KB",
        "latency ms p50",
        "train s",
        "+ teacher and search s",
        text=2,
    ),
    Column("status"),
)

_MADE = ("temperature", "alpha", "val_accuracy", "test_accuracy", "train_s", "cpu_s")
COLUMNS = ("dataset", "role", "arm", "group", "repeat", "seed", "state", *_MADE, "stage")

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
    }
)


def cells(row: Row) -> list[str]:
    """Return a row of the comparison as text, one cell under each of COMPARISON."""
    measured = row.measured
    return [
        f"{row.method} ({row.detail})" if row.detail else row.method,
        row.dataset,
        accuracy(row.validation),
        accuracy(row.test),
        number(row.parameters, ",.0f"),
        number(None if measured is None else measured.bytes, ",.0f", 1e-3),
        number(None if measured is None else measured.latency_ms_p50, ".2f"),
        number(row.train_s, ".1f"),
        number(row.shared_s, ".0f"),
        textwrap.shorten(row.status, _REASON, placeholder=" ..."),  # `trials` has all of it
    ]


def results_csv(findings: Findings) -> str:
    """Return one line for each training of a student, planned ones included; empty cells where it has not finished.

    stage: "search", "confirm" or "transfer"; what searched on a dataset stands before what compares the arms there, and
    has no arm. repeat: of confirm and transfer. What is searched beyond T and alpha has a column each, after alpha; its
    cell is empty for an arm that is trained without it. Accuracies are fractions in [0, 1], times seconds. group: the
    teacher and search of an outer level, "" the first. The test accuracies of a dataset are left out until its look at
    the test is complete.
    """
    out = io.StringIO()
    more, place = sorted(findings.spec.search.space), COLUMNS.index("alpha") + 1
    writer = csv.DictWriter(out, (*COLUMNS[:place], *more, *COLUMNS[place:]), lineterminator="\n")
    writer.writeheader()
    for role in findings.spec.roles:
        hidden = {"test_accuracy": None} if awaited(findings.trainings, role) else {}
        runs: list[Training | Tried] = [*findings.searched, *findings.trainings]
        writer.writerows(_line(one, more) | hidden for one in runs if one.role == role)
    return out.getvalue()


def _line(training: Training | Tried, more: Sequence[str]) -> dict[str, Any]:
    planned = {"stage": "transfer"} | {name: value for name, value in vars(training).items() if name in COLUMNS}
    planned["state"] = shown_state(planned["stage"], training.state, training.error_class)
    made = training.outcome
    searched = {} if made is None else trained_with(made.more, planned.get("arm"))
    return planned | {name: getattr(made, name, None) for name in _MADE} | {name: searched.get(name) for name in more}


def table_tex(findings: Findings) -> str:
    """Return the comparison table as a LaTeX tabular that needs the package booktabs; all text is escaped."""
    head = [column.title for column in COMPARISON]
    width = len(head) - findings.finished  # without the status, which comes last and says nothing where all are done
    body = [[latex(cell) for cell in cells(row)[:width]] for row in findings.rows]
    return "\n".join(
        [
            f"% kd-sweeps {findings.name}, spec {findings.fingerprint[:12]}. Needs \\usepackage{{booktabs}}.",
            "% Mean over seeds with its 95 \\% t interval. Latency: one image, one thread.",
            f"\\begin{{tabular}}{{ll{'r' * 7}{'l' * (width - 9)}}}",
            "\\toprule",
            " & ".join(map(latex, head[:width])) + " \\\\",
            "\\midrule",
            *(" & ".join(row) + " \\\\" for row in body),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Return text as LaTeX shows it, whatever signs are in it."""
    return text.translate(_LATEX)

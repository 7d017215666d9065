"""The numbers of a report for other programs: every training of transfer as CSV, the comparison as a LaTeX table."""

import csv
import io
from typing import Any

from storage.records.queries import TaskRecord
from sweeps.analysis.comparison import Comparison
from sweeps.plan.names import group_of
from sweeps.report.markdown import HEAD, cells

COLUMNS = (
    "dataset",
    "role",
    "arm",
    "group",
    "repeat",
    "seed",
    "state",
    "temperature",
    "alpha",
    "val_accuracy",
    "test_accuracy",
    "train_s",
    "cpu_s",
)

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


def results_csv(found: Comparison) -> str:
    """One line for each training of transfer, planned ones included; empty cells where it has not finished.

    Accuracies are fractions in [0, 1], times seconds. group: the teacher and search of an outer level, "" the first.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for role in found.spec.roles:
        dataset = found.spec.role(role).dataset
        writer.writerows({"dataset": dataset, **_line(task)} for task in found.transfers(role))
    return out.getvalue()


def _line(task: TaskRecord) -> dict[str, Any]:
    outcome = (task.outcome or {}) if task.state == "done" else {}
    given = {key: task.payload[key] for key in ("role", "arm", "repeat", "seed")}
    made = {key: outcome.get(key) for key in COLUMNS[COLUMNS.index("temperature") :]}
    return given | {"group": group_of(task.payload), "state": task.state} | made


def table_tex(found: Comparison) -> str:
    """The comparison table as a LaTeX tabular that needs the package booktabs; all text is escaped."""
    rows = found.rows()
    finished = all(row.status == "done" for row in rows)
    columns = len(HEAD) - finished  # without the status, which comes last and says nothing where all are done
    body = [[latex(cell) for cell in cells(row)[:columns]] for row in rows]
    return "\n".join(
        [
            f"% kd-sweeps {found.sweep.name}, spec {found.sweep.fingerprint[:12]}. Needs \\usepackage{{booktabs}}.",
            "% Mean over seeds with its 95 \\% t interval. Latency: one image, one thread.",
            f"\\begin{{tabular}}{{ll{'r' * 7}{'l' * (columns - 9)}}}",
            "\\toprule",
            " & ".join(latex(name) for name in HEAD[:columns]) + " \\\\",
            "\\midrule",
            *(" & ".join(row) + " \\\\" for row in body),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text as LaTeX shows it, whatever signs are in it."""
    return text.translate(_LATEX)

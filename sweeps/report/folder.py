"""The report as a folder: CSV, LaTeX, JSON, spec, page."""

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.distill.space import trained_with
from sweeps.errors import SpecError
from sweeps.findings.findings import Findings
from sweeps.findings.load import Training, Tried, is_incomplete
from sweeps.findings.rows import Row
from sweeps.findings.secondary import questions
from sweeps.findings.surfaces import Surface
from sweeps.plan.phases import display_state
from sweeps.plan.selection import Confirmed
from sweeps.report import html_page, markdown, methods
from sweeps.report.answer import badge, headline
from sweeps.report.document import Column, Figure, columns
from sweeps.report.figures.data import pictures
from sweeps.report.page import page, secondary_blocks, title
from sweeps.report.words import accuracy, number, shortened
from sweeps.spec import stored
from sweeps.stats.response import Top
from sweeps.trainers.protocol import Point

PAGE = "report.html"
_ALT = {  # what a figure is, for a reader who cannot see it
    "gains": "Gain of each arm over no distillation",
    "regret": "The regret beside its margin",
    "methods": "Test accuracy of the student and of other methods",
    "surface": "Where the searches looked",
    "break-even": "AutoKeras against the sweep",
}

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

_OF_OUTCOME = ("temperature", "alpha", "val_accuracy", "test_accuracy", "train_s", "cpu_s")
COLUMNS = ("dataset", "role", "arm", "group", "repeat", "seed", "state", *_OF_OUTCOME, "stage")

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
        shortened(row.status),
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
        hidden = {"test_accuracy": None} if is_incomplete(findings.trainings, role) else {}
        runs: list[Training | Tried] = [*findings.searched, *findings.trainings]
        writer.writerows(_line(run, more) | hidden for run in runs if run.role == role)
    return out.getvalue()


def _line(training: Training | Tried, more: Sequence[str]) -> dict[str, Any]:
    planned = {"stage": "transfer"} | {name: value for name, value in vars(training).items() if name in COLUMNS}
    planned["state"] = display_state(planned["stage"], training.state, training.error_class)
    outcome = training.outcome
    searched = {} if outcome is None else trained_with(outcome.more, planned.get("arm"))
    return (
        planned
        | {name: getattr(outcome, name, None) for name in _OF_OUTCOME}
        | {name: searched.get(name) for name in more}
    )


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


def write(findings: Findings, directory: Path) -> Path:
    """Write the report of a sweep into a folder; return the path of its report.html.

    The folder is made if it is missing. Other files in it stay; an earlier report is replaced, file by file and only
    once all of the new one has been written beside it.

    Raises:
        SpecError: the folder cannot be written.
    """
    from sweeps.report.figures import svg  # here: matplotlib takes a second, and JSON needs none

    figures = tuple(f"figures/{name}.svg" for name in svg.NAMES)
    replace_files(lambda: files(findings), directory, what="report", stale=figures)
    return directory / PAGE


def replace_files(
    made: Callable[[], Mapping[str, str]], directory: Path, *, what: str, stale: Iterable[str] = ()
) -> None:
    """Write files into a folder: all of them beside it first, then each in its place.

    Args:
        made: makes the files, by their path in the folder; called once the folder is there.
        what: "report", for the message and its example.
        stale: files of an earlier one, which are removed unless this one has them.

    Raises:
        SpecError: the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)  # before anything is drawn: the usual mistake is reported at once
        files = made()
        with tempfile.TemporaryDirectory(prefix=f".{what}-", dir=directory) as beside:
            for name, text in files.items():
                _new(Path(beside) / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            for name in files:
                os.replace(Path(beside) / name, _new(directory / name))
            for name in set(stale) - set(files):
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(
            f"--output: cannot write a {what} into {directory}: {error.strerror}; give a folder, for example: -o {what}"
        ) from None


def files(findings: Findings) -> dict[str, str]:
    """Return every file by its path in the folder, the page last: once it is there, so is what it speaks of."""
    from sweeps.report.figures import gains, svg

    plotted = pictures(findings)
    drawn, texts = svg.draw(plotted), gains.captions(plotted)
    figures = {name: Figure(name, _ALT[name], texts[name], wide=name in ("surface", "break-even")) for name in drawn}
    blocks = page(
        findings,
        figures=figures,
        secondary=secondary_blocks(questions(findings)),
        methods=[methods.section(findings)],
    )
    return {
        **{f"figures/{name}.svg": text for name, text in drawn.items()},
        "results.csv": results_csv(findings),
        "table.tex": table_tex(findings),
        "spec.toml": stored.to_toml(findings.spec),
        "report.md": f"{markdown.text(blocks)}\n",
        PAGE: html_page.html(blocks, title=title(findings), figures=drawn),
    }


def _new(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


def json_data(findings: Findings) -> dict[str, Any]:
    """Return the findings as values that JSON has, with the names and the units of `sweeps.findings.findings`."""
    return {
        "sweep": findings.name,
        "headline": headline(findings),
        "verdict": badge(findings).text,
        "verdicts": [asdict(verdict) for verdict in findings.verdicts],
        "spec": findings.spec.as_dict(),
        "fingerprint": findings.fingerprint,
        "answer_hash": findings.answer_hash,
        "numerics": list(findings.provenance.numerics),
        "best": _confirmed(findings.confirmed, "source"),
        "native": _confirmed(findings.confirmed, "target"),
        "surfaces": [_surface(surface) for surface in findings.surfaces],
        "controls": [asdict(control) | {"explains": control.explains} for control in findings.controls],
        "outer": {target.role: [asdict(group) for group in target.groups] for target in findings.outer},
        "rows": [_row(row) for row in findings.rows],
        "differences": [asdict(item) for item in findings.differences],
    }


def _confirmed(confirmed: Mapping[str, Confirmed], role: str) -> dict[str, Any] | None:
    return confirmed[role].as_json() if role in confirmed else None


def _surface(surface: Surface) -> dict[str, Any]:
    return {
        "role": surface.role,
        "dataset": surface.dataset,
        "points": [
            trial.point.as_dict() | {"accuracy": trial.accuracy, "number": trial.number, "shared": trial.shared}
            for trial in surface.trials
        ],
        "best": None if surface.best is None else _pair(surface.best),
        "tied": [_pair(point) for point in surface.tied],
        "top": None if surface.top is None else _top(surface.top),
        "optimism": surface.optimism,
        "importances": dict(surface.importances),
    }


def _top(top: Top) -> dict[str, Any]:
    return {name: getattr(top, name) for name in ("share", "low", "high", "tolerance", "word")}


def _pair(point: Point) -> list[float]:
    return [*point.as_dict().values()]


def _row(row: Row) -> dict[str, Any]:
    measured = {} if row.measured is None else row.measured.model_dump(exclude_unset=True)
    return asdict(row) | {"measured": measured}

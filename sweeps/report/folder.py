"""Write the report as a folder: CSV, LaTeX, JSON, spec, page."""

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.errors import SpecError
from sweeps.extensions import require
from sweeps.findings import choices, load, rows, secondary, surfaces, verdicts
from sweeps.findings.findings import Findings
from sweeps.plan import jobs, phases, points
from sweeps.report import answer, markdown, methods, words
from sweeps.report.page import page, secondary_blocks, title
from sweeps.spec import model, stored
from sweeps.trainers.protocol import Point, Value
from sweeps.trainers.score import Score

PAGE = "report.html"
_OF_OUTCOME = ("temperature", "alpha", "val_accuracy", "test_accuracy", "train_s", "cpu_s")
_OF_TOP = ("share", "low", "high", "tolerance", "word")  # not the whole fitted surface
COLUMNS = ("dataset", "role", "arm", "group", "repeat", "seed", "state", *_OF_OUTCOME, "stage")

_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$"}
)


def cells(score: Score, row: rows.Row) -> list[str]:
    measured = row.measured
    return [
        f"{row.method} ({row.detail})" if row.detail else row.method,
        row.dataset,
        words.level(score, row.validation),
        words.level(score, row.test),
        words.number(row.parameters, ",.0f"),
        words.number(None if measured is None else measured.bytes, ",.0f", 1e-3),
        words.number(None if measured is None else measured.latency_ms_p50, ".2f"),
        words.number(row.train_s, ".1f"),
        words.number(row.shared_s, ".0f"),
        words.shortened(row.status),
    ]


def results_csv(findings: Findings) -> str:
    """Return one line per training of a student, planned ones included; cells without a result are empty.

    stage: "search", "confirm", "recipes" or "transfer"; on each dataset, searches come before the comparison of arms
    and have no arm except for untuned points. repeat: for all stages but search. group: the teacher and search, "" for
    the first. Parameters beyond T and alpha have a column each, after alpha, empty for arms trained without them.
    Scores are the trainer's own, in columns with their name; accuracies are fractions in [0, 1]. Times are seconds. The
    test scores of a dataset are left out while its look is incomplete.
    """
    out, space, place = io.StringIO(), findings.spec.kind.space(findings.spec), COLUMNS.index("alpha") + 1
    more = sorted((space.keys() | points.recipe_space(findings.spec).keys()) - {"temperature", "alpha"})
    left_out = {"temperature", "alpha"} - space.keys()
    names = [name for name in (*COLUMNS[:place], *more, *COLUMNS[place:]) if name not in left_out]
    score = findings.spec.score
    writer = csv.DictWriter(out, [*map(score.column, names)], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for role in findings.spec.roles:
        hidden = {"test_accuracy": None} if load.is_incomplete(findings.trainings, role) else {}
        dataset = {"dataset": findings.spec.role(role).dataset}
        runs: list[jobs.AnyJob] = [*findings.searched, *findings.trainings]
        lines = (dataset | _line(findings.spec, run, more) | hidden for run in runs if run.work.role == role)
        writer.writerows(map(score.written, lines))
    return out.getvalue()


def _line(spec: model.Spec, training: jobs.AnyJob, more: Sequence[str]) -> dict[str, Any]:
    row, work, outcome = training.row, training.work, training.outcome
    stage = "transfer" if row.stage == "transfer" else training.phase.kind.removeprefix("native:")
    arm, repeat = getattr(work, "arm", None) or None, getattr(work, "repeat", None)
    planned = {"role": work.role, "arm": arm, "group": work.tag, "repeat": repeat, "seed": work.seed, "stage": stage}
    planned["state"] = phases.display_state(row.stage, row.state, row.error_class)
    searched = spec.kind.own_values(arm or "", outcome.more) if isinstance(outcome, jobs.StudentOutcome) else {}
    return (
        planned
        | {name: getattr(outcome, name, None) for name in _OF_OUTCOME}
        | {name: searched.get(name) for name in more}
    )


def table_tex(findings: Findings) -> str:
    prepares, score = findings.spec.kind.features.prepares, findings.spec.score
    head = ["method", "dataset", score.head("validation"), score.head("test"), "parameters", "file KB"]
    head += ["latency ms p50", "train s", f"+ {f'{prepares} and ' if prepares else ''}search s", "status"]
    width = len(head) - findings.finished  # without the status, the last column, if all are done
    body = [[latex(cell) for cell in cells(score, row)[:width]] for row in findings.rows]
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
    return text.translate(_LATEX)


def write(findings: Findings, directory: Path) -> Path:
    """Write the report of a sweep into a folder, created if missing; return the path of its report.html.

    Keep other files in it; replace an earlier report file by file, once the whole new one is written. Raise SpecError
    if it cannot be written, MissingExtra if figures cannot be drawn.
    """
    require("report", "report --output")
    from sweeps.report.figures import svg  # here: matplotlib takes a second, and JSON needs none

    figures = tuple(f"figures/{name}.svg" for name in svg.names(findings.spec.kind))
    replace_files(lambda: files(findings), directory, what="report", stale=figures)
    return directory / PAGE


def replace_files(
    made: Callable[[], Mapping[str, str]], directory: Path, *, what: str, stale: Iterable[str] = ()
) -> None:
    """Write all files into a temporary folder, then move each to its place.

    made: called once the folder exists. what: "report", for the message. stale: files of an earlier report, removed
    unless they are written again.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)  # before drawing, to report the usual mistake at once
        files = made()
        with tempfile.TemporaryDirectory(prefix=f".{what}-", dir=directory) as temporary:
            for name, text in files.items():
                _new(Path(temporary) / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            for name in files:
                os.replace(Path(temporary) / name, _new(directory / name))
            for name in set(stale) - set(files):
                (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise SpecError(
            f"--output: cannot write a {what} into {directory}: {error.strerror}; give a folder, for example: -o {what}"
        ) from None


def files(findings: Findings) -> dict[str, str]:
    # The page last: once it exists, so does all it mentions.
    from sweeps.report import html_page  # here, with Jinja2: only a page needs it
    from sweeps.report.figures import svg

    figures = svg.with_data(findings)
    drawn = svg.draw(figures)
    blocks = page(
        findings,
        figures=svg.blocks(findings.spec, figures),
        secondary=secondary_blocks(findings.spec, secondary.questions(findings)),
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
    confirmed = {role: point.as_json() for role, point in findings.confirmed.items()}
    return {
        "sweep": findings.name,
        "headline": answer.headline(findings),
        "verdict": answer.badge(findings).text,
        "verdicts": [_verdict(verdict) for verdict in findings.verdicts],
        **({"choices": list(map(_choice, findings.choices))} if findings.choices else {}),
        "spec": findings.spec.as_dict(),
        "fingerprint": findings.fingerprint,
        "answer_hash": findings.answer_hash,
        "numerics": list(findings.provenance.numerics),
        "best": confirmed.get("source"),
        "native": confirmed.get("target"),
        "surfaces": [_surface(surface) for surface in findings.surfaces],
        "controls": [asdict(control) | {"explains": control.explains} for control in findings.controls],
        "outer": {target.role: list(map(_repeat, target.groups)) for target in findings.outer},
        "rows": [_row(row) for row in findings.rows],
        "differences": [asdict(item) for item in findings.differences],
    }


def _verdict(verdict: verdicts.TargetVerdict) -> dict[str, Any]:
    values = asdict(verdict)
    del values["prepares"]  # not a result
    return values


def _choice(role: choices.RoleChoice) -> dict[str, Any]:
    points = {name: None if point is None else point.as_dict() for name, point in role.points.items()}
    return asdict(role) | {"points": points}


def _surface(surface: surfaces.Surface) -> dict[str, Any]:
    top = surface.top
    shares = None if surface.importances_missing else dict(surface.importances)
    return {
        "role": surface.role,
        "dataset": surface.dataset,
        "points": [
            trial.point.as_dict() | {"accuracy": trial.accuracy, "number": trial.number, "shared": trial.shared}
            for trial in surface.trials
        ],
        "best": None if surface.best is None else _pair(surface.best),
        "tied": [_pair(point) for point in surface.tied],
        "top": None if top is None else {name: getattr(top, name) for name in _OF_TOP},
        **({"top_missing": surface.top_missing} if surface.top_missing else {}),
        "optimism": surface.optimism,
        "importances": shares,
        **({"importances_missing": surface.importances_missing} if surface.importances_missing else {}),
    }


def _pair(point: Point) -> list[Value]:
    return [*point.as_dict().values()]


def _row(row: rows.Row) -> dict[str, Any]:
    measured = {} if row.measured is None else row.measured.model_dump(exclude_unset=True)
    point = None if row.point is None else _in_parts(row.point)
    return asdict(row) | {"point": point, "measured": measured}


def _repeat(group: verdicts.GroupRegret) -> dict[str, Any]:
    return asdict(group) | {"best": _in_parts(group.best), "native": _in_parts(group.native)}


def _in_parts(point: Point) -> dict[str, Any]:
    # In the format of the first reports: parameters beyond T and alpha as pairs.
    stored = point.as_json()
    return stored | {"more": [[name, value] for name, value in stored.get("more", {}).items()]}

"""Read results: status, best, trials, report, list, export.

They write nothing to the storage and start fast: a test holds that none of them imports TensorFlow, Optuna or scipy.
`report -o DIR` draws, and writes into DIR; `export` writes its file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.analysis.units import percent
from sweeps.cli.formats import Format, render
from sweeps.cli.options import Data, Field, Form, Storage, SweepName, use_folders
from sweeps.terminal import say

if TYPE_CHECKING:
    import sqlalchemy

    from storage.records.queries import SweepRecord

app = typer.Typer()


# The columns of `trials` that fit beside each other on a terminal; the other formats have all of them.
_SHOWN = (
    "task",
    "state",
    "trial",
    "dataset",
    "temperature",
    "alpha",
    "score",
    "test_accuracy",
    "train_s",
    "cpu_s",
    "reason",
)


@app.command()
def status(
    name: SweepName,
    audit: Annotated[bool, typer.Option("--audit", help="Prove that nothing was lost or counted twice.")] = False,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
) -> None:
    """Show stages, tasks by state, workers and the time left.

    With --audit: compares the plan, the tasks, their attempts and Optuna's trials, and exits 1 if anything disagrees.
    """
    if audit:
        _audit(name, form, field, storage)
        return
    from sweeps.cli.answers import describe_status
    from sweeps.query.opening import open_sweep
    from sweeps.query.status import status

    with open_sweep(storage, name) as (engine, sweep):
        found = status(engine, sweep)
        _note_storage(engine)
    print(describe_status(found) if form is Format.table and field is None else render(found.as_json(), form, field))


def _audit(name: str, form: Format, field: str | None, storage: str | None) -> None:
    from storage.audit.audit import audit
    from sweeps.cli.text import describe, values
    from sweeps.query.bits import bits
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        found = audit(engine, sweep)
        answer = None if found.violations else bits(engine, sweep)  # what is damaged cannot be read
        _note_storage(engine)
    if form is Format.table and field is None:
        print("\n".join([describe(found), *(answer.lines() if answer else [])]))
    else:
        hashed = {"answer_hash": answer.answer_hash if answer else None}
        print(render(values(name, found) | hashed, form, field))
    raise typer.Exit(1 if found.violations else 0)


@app.command()
def best(
    name: SweepName,
    paste: Annotated[bool, typer.Option("--paste", help="Only the code that trains with them.")] = False,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
) -> None:
    """Print the best temperature and alpha.

    The mean over fresh seeds with its interval, the best single trial (the incumbent) beside it, and what the sweep
    found about them.

    Examples: kd-sweeps best mnist-kd --paste; kd-sweeps best mnist-kd -f value --field temperature
    """
    from sweeps.cli.answers import describe_best
    from sweeps.query import best as answer
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        found = answer.best(engine, sweep)
        _note_storage(engine)
        said = _said(engine, sweep) if found.answer_hash and not paste else []
    if paste:
        print("\n\n".join(["# student and teacher: Keras models that give logits", *found.paste.values()]))
        return
    shown = form is Format.table and field is None
    print(describe_best(found, said) if shown else render(found.as_json(), form, field))


def _said(engine: "sqlalchemy.Engine", sweep: "SweepRecord") -> list[str]:
    """Return the verdict of a finished sweep, and where an untuned point was as good."""
    from sweeps.analysis.load import load
    from sweeps.report.answer import badge, headline
    from sweeps.report.names import called
    from sweeps.report.observations import matters

    findings = load(engine, sweep)
    source = findings.surfaces[0]
    return [f"{badge(findings).text}. {headline(findings)}", f"On {called(source.dataset)} {matters(source)}."]


@app.command()
def trials(
    name: SweepName,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="Only this stage.")] = None,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
) -> None:
    """List every task with its trial and result."""
    from sweeps.query.listing import trial_rows
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        rows = [vars(row) for row in trial_rows(engine, sweep, stage)]
        _note_storage(engine)
    if form is Format.table and field is None:
        rows = [{key: row[key] for key in _SHOWN} for row in rows]
    print(render(rows, form, field))


@app.command()
def report(
    name: SweepName,
    form: Annotated[
        str, typer.Option("-f", "--format", help="brief, markdown or json; brief on a terminal, else markdown.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the whole report into this folder.")
    ] = None,
    storage: Storage = None,
) -> None:
    """Print the answer: in a few lines on a terminal, else the whole page as Markdown.

    With -o: report.html with figures, tests and methods, its Markdown, the figures as SVG, every result as CSV, the
    table as LaTeX and the spec.
    """
    if output is not None:
        _write_report(name, form, output, storage)
        return
    from sweeps.analysis.load import load
    from sweeps.errors import SpecError
    from sweeps.query.opening import open_sweep
    from sweeps.report import page
    from sweeps.report.brief import WIDTH, brief
    from sweeps.report.json_data import json_data
    from sweeps.terminal import columns

    wide = columns()
    form = form or ("markdown" if wide is None else "brief")
    if form not in ("brief", "markdown", "json"):
        raise SpecError(f"--format: got {form!r}; allowed: brief, markdown, json")
    with open_sweep(storage, name) as (engine, sweep):
        findings = load(engine, sweep)
        _note_storage(engine)
    if form == "json":
        print(render(json_data(findings), Format.json))
    else:
        print(page.report(findings) if form == "markdown" else brief(findings, columns=wide or WIDTH))


def _write_report(name: str, form: str, output: Path, storage: str | None) -> None:
    from sweeps.analysis.load import load
    from sweeps.errors import SpecError
    from sweeps.query.opening import open_sweep
    from sweeps.report import folder
    from sweeps.report.answer import headline

    if form not in ("", "markdown"):
        raise SpecError(f"--output writes every format; leave out --format {form}")
    with open_sweep(storage, name) as (engine, sweep):
        findings = load(engine, sweep)
        _note_storage(engine)
    page = folder.write(findings, output)
    print(headline(findings))
    say(f"report   {page}")


@app.command("list")
def list_sweeps(form: Form = Format.table, field: Field = None, storage: Storage = None) -> None:
    """List the sweeps in the storage."""
    from storage.db import engine as engines
    from storage.url import resolve
    from sweeps.query.listing import sweep_rows

    engine = engines.open_engine(resolve(storage), read_only=True)
    try:
        rows = [vars(row) for row in sweep_rows(engine)]
        _note_storage(engine)
    finally:
        engine.dispose()
    print(render(rows, form, field))


@app.command()
def export(
    name: SweepName,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to: .keras, or .npz of logits.")
    ],
    logits: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Not a student but the teacher's logits: source, target.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Trained on this one; the source when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    storage: Storage = None,
) -> None:
    """Write a student trained at the best (T, alpha) as a .keras file, or a teacher's logits.

    The student takes uint8 images (values 0 to 255) and gives logits; keras.saving.load_model reads it, without this
    package. Logits are the teacher of another sweep, or on another machine: --teacher logits:FILE.npz.

    Examples: kd-sweeps export mnist-kd -o student.keras; kd-sweeps export mnist-kd --logits source -o source-logits.npz
    """
    from storage.url import masked
    from sweeps.query.opening import open_sweep
    from sweeps.service.export import check_target, find_student, write

    if logits is not None:
        _export_logits(name, output, logits, force=force, storage=storage)
        return
    check_target(output, force=force)
    with open_sweep(storage, name) as (engine, sweep):
        student = find_student(engine, sweep, dataset)
        say(f"storage {masked(engine.url)}")
    write(student, output)
    point = student.point
    say(f"wrote {output}: student of {student.dataset}, T={point.temperature:.4g}, alpha={point.alpha:.4g}")
    say(f"recorded test accuracy {percent(student.test_accuracy):.2f} %")
    say(f"sha256 {student.sha256}")


def _export_logits(name: str, output: Path, role: str, *, force: bool, storage: str | None) -> None:
    from sweeps.query.opening import open_sweep
    from sweeps.service.export import check_target
    from sweeps.service.export_logits import find_logits, write

    check_target(output, force=force, suffix=".npz")
    with open_sweep(storage, name) as (engine, sweep):
        found = find_logits(engine, sweep, role)
        _note_storage(engine)
    write(found, output)
    images, classes = found.logits.shape
    say(f"wrote {output}: logits of {images:,} training images of {found.dataset}, {classes} classes")
    say(f"{found.provenance}; validation accuracy {percent(found.val_accuracy):.2f} %")
    say(f"sha256 of the logits {found.sha256}")
    say(f"as a teacher: --teacher logits:{output}")


@app.command()
def replay(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="This task, such as search#3.")] = None,
    sample: Annotated[int, typer.Option(metavar="N", min=1, help="So many finished tasks, drawn at random.")] = 5,
    storage: Storage = None,
    data: Data = None,
) -> None:
    """Train finished tasks again and compare them with what is stored, bit by bit.

    Writes nothing. Exits 1 if anything differs.

    Example: kd-sweeps replay mnist-kd --task search#3
    """
    from sweeps.query.opening import open_sweep
    from sweeps.service import replay as again

    use_folders(data, None)
    with open_sweep(storage, name) as (engine, sweep):
        _note_storage(engine)
        tasks = again.chosen(engine, sweep, key=task, sample=sample)
        different = 0
        for one in again.replay(engine, sweep, tasks, on_step=lambda: None):
            different += bool(one.differs)
            said = "; ".join(one.differs) or "the same bits"
            before, now = one.numerics
            kind = f" (trained with numerics {before}, here {now})" if one.differs and before != now else ""
            print(f"{one.key:<28} {percent(one.score):6.2f} %  {said}{kind}", flush=True)
    print(f"{len(tasks)} trained again, {different} differ")
    raise typer.Exit(1 if different else 0)


def _note_storage(engine: "sqlalchemy.Engine") -> None:
    from storage.url import masked

    say(f"storage {masked(engine.url)}")

"""Read results: status, best, trials, report, list.

They write nothing to the storage and start fast: a test holds that none of them imports TensorFlow, Optuna or scipy.
`report -o DIR` draws, and writes into DIR.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.formats import Format, render
from sweeps.cli.options import Field, Form, Storage, SweepName
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
        note_storage(engine)
    print(describe_status(found) if form is Format.table and field is None else render(found.as_json(), form, field))


def _audit(name: str, form: Format, field: str | None, storage: str | None) -> None:
    from storage.audit.audit import audit
    from sweeps.cli.text import describe, values
    from sweeps.query.bits import bits
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        found = audit(engine, sweep)
        answer = None if found.violations else bits(engine, sweep)  # what is damaged cannot be read
        note_storage(engine)
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
    from sweeps.errors import SpecError
    from sweeps.hints import here
    from sweeps.query import best as answer
    from sweeps.query.opening import open_sweep

    if paste and (form is not Format.table or field is not None):
        raise SpecError(
            "--paste prints code alone; leave out --format and --field, or print the code in a format:"
            f" {here().line('best', name, '-f json --field paste')}"
        )
    with open_sweep(storage, name) as (engine, sweep):
        found = answer.best(engine, sweep)
        note_storage(engine)
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
        note_storage(engine)
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
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Write the whole report into this folder.")
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
        note_storage(engine)
    if form == "json":
        print(render(json_data(findings), Format.json))
    else:
        print(page.report(findings) if form == "markdown" else brief(findings, columns=wide or WIDTH))


def _write_report(name: str, form: str, output: str, storage: str | None) -> None:
    from sweeps.analysis.load import load
    from sweeps.errors import SpecError
    from sweeps.query.opening import open_sweep
    from sweeps.report import folder
    from sweeps.report.answer import headline

    if not output.strip():  # a variable that is not set, in most cases: not a wish for the present folder
        raise SpecError(f"--output: got {output!r}; give a folder, for example: -o {name}-report")
    if form not in ("", "markdown"):
        raise SpecError(f"--output writes every format; leave out --format {form}")
    with open_sweep(storage, name) as (engine, sweep):
        findings = load(engine, sweep)
        note_storage(engine)
    page = folder.write(findings, Path(output))
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
        note_storage(engine)
    finally:
        engine.dispose()
    print(render(rows, form, field))


def note_storage(engine: "sqlalchemy.Engine") -> None:
    """Say which storage was read, beside the result."""
    from storage.url import masked

    say(f"storage {masked(engine.url)}")

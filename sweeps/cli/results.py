"""Read results: status, best, trials, report, list.

They write nothing to the storage and start fast: a test holds that none of them imports TensorFlow, Optuna or scipy.
`report -o DIR` draws, and writes into DIR.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.formats import Format, render
from sweeps.cli.options import Field, Form, Storage, SweepName
from sweeps.terminal import columns, fitted, say

if TYPE_CHECKING:
    import sqlalchemy

    from storage.records.queries import SweepRecord

app = typer.Typer()


_WORKER_SHOWN = ("worker", "state", "task", "done", "failed", "reason")


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
    if form is Format.table and field is None:
        print(fitted(describe_status(found), columns()))
    else:
        print(render(found.as_json(), form, field))


def _audit(name: str, form: Format, field: str | None, storage: str | None) -> None:
    from storage.audit.audit import audit
    from sweeps.cli.text import describe, values
    from sweeps.query.bits import bits
    from sweeps.query.opening import open_sweep
    from sweeps.query.status import stage_counts

    with open_sweep(storage, name) as (engine, sweep):
        found = audit(engine, sweep)
        # What is damaged cannot be read.
        answer = None if found.violations else bits(engine, sweep)
        counts = {} if found.violations else stage_counts(engine, sweep.id)
        note_storage(engine)
    missing = {stage: count.unavailable for stage, count in counts.items()}
    if form is Format.table and field is None:
        print(fitted("\n".join([describe(found, missing), *(answer.lines() if answer else [])]), columns()))
    else:
        hashed = {"answer_hash": answer.answer_hash if answer else None}
        print(render(values(name, found, missing) | hashed, form, field))
    raise typer.Exit(1 if found.violations else 0)


@app.command()
def workers(name: SweepName, form: Form = Format.table, field: Field = None, storage: Storage = None) -> None:
    """List every worker of a sweep, on every machine: at work, idle, vanished, stopped or ended."""
    from dataclasses import asdict

    from storage.records import queries
    from sweeps.query.bits import KEEP
    from sweeps.query.opening import open_sweep
    from sweeps.query.workers import worker_rows
    from sweeps.spec.model import as_it_stands
    from sweeps.terminal import duration

    with open_sweep(storage, name) as (engine, sweep):
        done = queries.task_records(engine, sweep.id, state="done", keep=KEEP)
        rows = [asdict(row) for row in worker_rows(engine, sweep, as_it_stands(sweep), done)]
        note_storage(engine)
    if form is Format.table and field is None:
        rows = [{key: row[key] for key in _WORKER_SHOWN} | {"seen": f"{duration(row['seen_s'])} ago"} for row in rows]
    print(render(rows, form, field) if rows else "no worker has worked on it yet")


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
    found about them. With -f value: temperature and alpha alone.

    Examples: kd-sweeps best mnist-kd --paste; kd-sweeps best mnist-kd -f value
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
    if form is Format.table and field is None:
        print(fitted(describe_best(found, said), columns()))
    elif form is Format.value and field is None:
        print(render(found.point.as_dict(), form))  # what a script wants; everything else has a name
    else:
        print(render(found.as_json(), form, field))


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
    from sweeps.cli.answers import describe_trials
    from sweeps.query.listing import trial_rows
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        rows = [vars(row) for row in trial_rows(engine, sweep, stage)]
        note_storage(engine)
    print(describe_trials(rows) if form is Format.table and field is None else render(rows, form, field))


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
    print(fitted(headline(findings), columns()))
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

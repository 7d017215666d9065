"""The commands that only read: status, best, trials, report, list. They write nothing and start fast.

They touch our own tables alone; a test holds that none of them imports TensorFlow, Optuna or scipy. `report -o DIR` is
the exception: it writes into DIR, and draws.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.options import Field, Form, Storage, SweepName
from sweeps.output import Format, render, say

if TYPE_CHECKING:
    import sqlalchemy

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
    """Stages, tasks by state, workers, time left.

    With --audit: compares the plan, the tasks, their attempts and Optuna's trials, and exits 1 if anything disagrees.
    """
    if audit:
        _audit(name, form, field, storage)
        return
    from sweeps.reading import opened
    from sweeps.status import describe, status

    with opened(storage, name) as (engine, sweep):
        found = status(engine, sweep)
        _note_storage(engine)
    print(describe(found) if form is Format.table and field is None else render(found, form, field))


def _audit(name: str, form: Format, field: str | None, storage: str | None) -> None:
    from storage.audit import audit
    from sweeps.audit import describe, values
    from sweeps.reading import opened

    with opened(storage, name) as (engine, sweep):
        found = audit(engine, sweep)
        _note_storage(engine)
    print(describe(found) if form is Format.table and field is None else render(values(name, found), form, field))
    raise typer.Exit(1 if found.violations else 0)


@app.command()
def best(name: SweepName, form: Form = Format.table, field: Field = None, storage: Storage = None) -> None:
    """The best temperature and alpha.

    Confirmed on fresh seeds, with its interval, and the single best trial beside it.

    Example: kd-sweeps best mnist-kd -f value --field temperature
    """
    from sweeps import answer
    from sweeps.reading import opened

    with opened(storage, name) as (engine, sweep):
        found = answer.best(engine, sweep)
        _note_storage(engine)
    print(answer.describe(found) if form is Format.table and field is None else render(found, form, field))


@app.command()
def trials(
    name: SweepName,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="Only this stage.")] = None,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
) -> None:
    """Every task with its trial and result."""
    from sweeps.listing import trial_rows
    from sweeps.reading import opened

    with opened(storage, name) as (engine, sweep):
        rows = trial_rows(engine, sweep, stage)
        _note_storage(engine)
    if form is Format.table and field is None:
        rows = [{key: row[key] for key in _SHOWN} for row in rows]
    print(render(rows, form, field))


@app.command()
def report(
    name: SweepName,
    form: Annotated[str, typer.Option("-f", "--format", help="markdown or json.")] = "markdown",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the whole report into this folder.")
    ] = None,
    storage: Storage = None,
) -> None:
    """The verdict and the comparison, as Markdown on stdout.

    With -o: report.html with figures, tests and methods, its Markdown, the figures as SVG, every result as CSV, the
    table as LaTeX and the spec.
    """
    if output is not None:
        _write_report(name, form, output, storage)
        return
    from sweeps.errors import SpecError
    from sweeps.markdown import report as write
    from sweeps.markdown import report_data
    from sweeps.reading import opened

    if form not in ("markdown", "json"):
        raise SpecError(f"--format: got {form!r}; allowed: markdown, json")
    with opened(storage, name) as (engine, sweep):
        text = write(engine, sweep) if form == "markdown" else render(report_data(engine, sweep), Format.json)
        _note_storage(engine)
    print(text)


def _write_report(name: str, form: str, output: Path, storage: str | None) -> None:
    from sweeps import pages, secondary
    from sweeps.errors import SpecError
    from sweeps.markdown import analyse
    from sweeps.reading import opened
    from sweeps.wording import headline

    if form != "markdown":
        raise SpecError(f"--output writes every format; leave out --format {form}")
    with opened(storage, name) as (engine, sweep):
        found = analyse(engine, sweep)
        page = pages.write(found, output, extra=secondary.section(found))
        verdict = headline(found, name)
        _note_storage(engine)
    print(verdict)
    say(f"report   {page}")


@app.command("list")
def list_sweeps(form: Form = Format.table, field: Field = None, storage: Storage = None) -> None:
    """The sweeps in the storage."""
    from storage import engine as engines
    from storage.url import resolve
    from sweeps.listing import sweep_rows

    engine = engines.open_engine(resolve(storage), read_only=True)
    try:
        rows = sweep_rows(engine)
        _note_storage(engine)
    finally:
        engine.dispose()
    print(render(rows, form, field))


def _note_storage(engine: "sqlalchemy.Engine") -> None:
    from storage.url import masked

    say(f"storage {masked(engine.url)}")

"""Commands that read: status, best, trials, report, compare, replay and the like.

They write nothing to the storage. All but `replay` start fast: a test checks that none imports TensorFlow, Optuna or
SciPy.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli import text
from sweeps.cli.options import (
    Data,
    Field,
    Form,
    Service,
    Storage,
    SweepName,
    ask,
    client_of,
    note_storage,
    use_folders,
    whole_number,
)
from sweeps.cli.text import Format, render
from sweeps.errors import NoResultsYet, SpecError
from sweeps.extensions import CUSTOM
from sweeps.hints import as_typed, local
from sweeps.terminal import WIDTH, columns, duration, number_of, say, show, wrapped

if TYPE_CHECKING:
    from sweeps.findings.findings import Findings
    from sweeps.operations.operation import Client
    from sweeps.operations.table import AuditAnswer

app = typer.Typer()

MOST = 20  # sweeps: 190 pairs on each dataset
_WORKER_SHOWN = ("worker", "state", "task", "done", "failed", "reason")


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME", help="Two or more sweeps.")],
    form: Annotated[
        str, typer.Option("-f", "--format", help="brief (default on a terminal), markdown (otherwise), json or csv.")
    ] = "",
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Write the comparison into this folder.")
    ] = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Compare what several sweeps gain and cost.

    Prints which settings differ and which sweep is better. Students with the same seed are compared in pairs. With -f
    csv: one line per finished training. With -o: compare.html with a forest plot, the same page as Markdown, and the
    CSV.

    Example: kd-sweeps compare plain wide -o comparison
    """
    _check(names, form, output)
    client = client_of(storage, url)
    findings = _findings(client, names)
    say(client.label)
    if form == "csv":
        print(_trainings(client, findings), end="")
        return
    from sweeps.findings.compare import compare as compared
    from sweeps.report import compare

    comparison = compared(names, findings)
    if output is not None:
        written = compare.write(comparison, _trainings(client, findings), Path(output))
        for line in filter(None, compare.conclusion(comparison)):
            show(line)
        say(f"comparison {written}")
        return
    wide = columns()
    form = form or ("markdown" if wide is None else "brief")
    if form == "json":
        print(render(compare.json_data(comparison), Format.json))
    elif form == "markdown":
        print(compare.text(comparison))
    else:
        from sweeps.report.brief import compared_brief

        print(compared_brief(comparison, columns=wide or WIDTH))


def _check(names: Sequence[str], form: str, output: str | None) -> None:
    from sweeps.spec.stored import check_name

    for name in names:
        check_name(name)
    repeated = next((name for name in names if names.count(name) > 1), None)
    example = f"for example: {local().line('compare', names[0], 'ANOTHER')}"
    if repeated is not None:
        raise SpecError(f"compare: got {repeated} twice; name each sweep once, {example}")
    if not 2 <= len(names) <= MOST:
        raise SpecError(f"compare: got {number_of(len(names), 'sweep')}; allowed: 2 to {MOST}, {example}")
    _check_output(form, ("brief", "markdown", "json", "csv"), output, "comparison")


def _check_output(form: str, forms: Sequence[str], output: str | None, folder: str) -> None:
    if form not in ("", *forms):
        raise SpecError(f"--format: got {form!r}; allowed: {', '.join(forms)}")
    if output is not None and not output.strip():  # probably an unset variable, not the current folder
        raise SpecError(f"--output: got {output!r}; give a folder, for example: -o {folder}")
    if output is not None and form not in ("", "markdown"):
        raise SpecError(f"--output writes every format; leave out --format {form}")


def _findings(client: "Client", names: Sequence[str]) -> "list[Findings]":
    """Return the findings of the sweeps that have results; raise NoResultsYet of the first if none has."""
    from sweeps.operations.table import FINDINGS, SweepArgs

    loaded, nothing = [], []
    for name in names:
        try:
            loaded.append(client.ask(FINDINGS, SweepArgs(name=name)))
        except NoResultsYet as error:
            nothing.append(error)
    if not loaded:
        raise nothing[0]
    return loaded


def _trainings(client: "Client", findings: "Sequence[Findings]") -> str:
    from sweeps.operations.table import TRIALS, TrialsArgs
    from sweeps.report.compare import long_csv

    return long_csv([(sweep.name, sweep.spec, client.ask(TRIALS, TrialsArgs(name=sweep.name))) for sweep in findings])


@app.command()
def status(
    name: SweepName,
    audit: Annotated[bool, typer.Option("--audit", help="Check that no result was lost or counted twice.")] = False,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Show tasks by stage, workers and the time left.

    --audit compares the plan, tasks, attempts and Optuna's trials, and exits with 1 if anything disagrees.
    """
    from sweeps.operations.operation import plain
    from sweeps.operations.table import AUDIT, STATUS, SweepArgs

    if audit:
        _audit(ask(storage, url, AUDIT, SweepArgs(name=name)), name, form, field)
        return
    answer = ask(storage, url, STATUS, SweepArgs(name=name))
    if form is Format.table and field is None:
        show(text.describe_status(answer))
    else:
        print(render(plain(STATUS.kind, answer), form, field))


def _audit(answer: "AuditAnswer", name: str, form: Format, field: str | None) -> None:
    audit, unavailable = answer.audit, answer.unavailable
    if form is Format.table and field is None:
        show("\n".join([text.describe_audit(audit, unavailable), *answer.notes]))
    else:
        print(render(text.audit_values(name, audit, unavailable) | {"answer_hash": answer.answer_hash}, form, field))
    raise typer.Exit(1 if audit.violations else 0)


@app.command()
def workers(
    name: SweepName, form: Form = Format.table, field: Field = None, storage: Storage = None, url: Service = None
) -> None:
    """List the workers of a sweep on all machines.

    States: working, idle, vanished, stopped and ended.
    """
    from sweeps.operations.table import WORKERS, SweepArgs

    rows = [asdict(row) for row in ask(storage, url, WORKERS, SweepArgs(name=name))]
    if form is Format.table and field is None:
        rows = [{key: row[key] for key in _WORKER_SHOWN} | {"seen": f"{duration(row['seen_s'])} ago"} for row in rows]
    print(render(rows, form, field) if rows else "no worker has started yet")


@app.command()
def best(
    name: SweepName,
    paste: Annotated[bool, typer.Option("--paste", help="Print only code that trains at this point.")] = False,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Print the best point, such as temperature and alpha.

    Shows its mean over fresh seeds with a confidence interval, the best single trial (the incumbent), and the answer
    of the sweep. With -f value: only the values of the point.

    Examples: kd-sweeps best mnist-kd --paste; kd-sweeps best mnist-kd -f value
    """
    from sweeps.operations.operation import plain
    from sweeps.operations.table import BEST, SweepArgs

    if paste and (form is not Format.table or field is not None):
        raise SpecError(
            "--paste prints only code; leave out --format and --field. The code as JSON:"
            f" {local().line('best', name, '-f json --field paste')}"
        )
    point = ask(storage, url, BEST, SweepArgs(name=name))
    if paste and not point.paste:
        values = local().line("best", name, "-f value")
        raise SpecError(f"the trainer of {name} writes no code for a point; to print its values: {values}")
    if paste:
        above = ["student and teacher: Keras models that give logits", f"the sweep's students: {point.recipe}"]
        above += filter(None, [text.untuned_won(point)])
        # The sweep may advise against a tuned point: anyone who pastes the code must know.
        above += [line for words in point.summary[:1] for line in wrapped(f"the sweep's answer: {words}", WIDTH - 2)]
        print("\n\n".join(["\n".join(f"# {line}" for line in above), *point.paste.values()]))
        return
    if form is Format.table and field is None:
        show(text.describe_best(point))
    elif form is Format.value and field is None:
        print(render(point.point.as_dict(), form))  # what a script needs; --field gives anything else
    else:
        print(render(plain(BEST.kind, point), form, field))


@app.command()
def trials(
    name: SweepName,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="List only this stage.")] = None,
    form: Form = Format.table,
    field: Field = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """List every task with its trial and result."""
    from sweeps.operations.table import TRIALS, TrialsArgs
    from sweeps.query.listing import as_columns

    rows = ask(storage, url, TRIALS, TrialsArgs(name=name, stage=stage))
    if form is Format.table and field is None:
        scored = next((row.scored for row in rows), "")
        print(text.describe_trials(as_columns([row.as_given() for row in rows]), scored=scored))
    else:
        print(render(as_columns(rows), form, field))


@app.command()
def report(
    name: SweepName,
    form: Annotated[
        str, typer.Option("-f", "--format", help="brief (default on a terminal), markdown (otherwise) or json.")
    ] = "",
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Write the full report into this folder.")
    ] = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Print the answer of a sweep.

    A summary on a terminal, else the full page as Markdown. With -o: report.html with figures, tests and methods, the
    same page as Markdown, the figures as SVG, all results as CSV, the table as LaTeX, and the spec.
    """
    from sweeps.operations.table import FINDINGS, SweepArgs
    from sweeps.report import folder, page
    from sweeps.report.answer import announced
    from sweeps.report.brief import brief

    _check_output(form, ("brief", "markdown", "json"), output, f"{name}-report")
    findings = ask(storage, url, FINDINGS, SweepArgs(name=name))
    if output is not None:
        written = folder.write(findings, Path(output))
        show(as_typed(announced(findings)))
        say(f"report   {written}")
        return
    wide = columns()
    form = form or ("markdown" if wide is None else "brief")
    if form == "json":
        print(render(folder.json_data(findings), Format.json))
    else:
        print(page.report(findings) if form == "markdown" else brief(findings, columns=wide or WIDTH))


@app.command("list")
def list_sweeps(form: Form = Format.table, field: Field = None, storage: Storage = None, url: Service = None) -> None:
    """List the sweeps in the storage."""
    from sweeps.operations.operation import Args
    from sweeps.operations.table import SWEEPS

    rows = [asdict(row) for row in ask(storage, url, SWEEPS, Args())]
    if not any(row["unavailable"] for row in rows):
        rows = [{key: value for key, value in row.items() if key != "unavailable"} for row in rows]
    print(render(rows, form, field))


@app.command()
def replay(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Task to rerun, for example search#3.")] = None,
    sample: Annotated[str, typer.Option(metavar="N", help="Number of finished tasks to draw at random.")] = "5",
    storage: Storage = None,
    data: Data = None,
) -> None:
    """Rerun finished tasks and compare with stored results.

    Compares bit by bit and writes nothing. Exits with 1 if anything differs.

    Example: kd-sweeps replay mnist-kd --task search#3
    """
    from sweeps.query.listing import open_sweep
    from sweeps.spec.stored import as_it_stands
    from sweeps.usecases import replay as again

    use_folders(data)
    count = whole_number("--sample", sample, least=1, most=100_000, example="5")
    with open_sweep(storage, name) as (engine, sweep):
        note_storage(engine.url)
        tasks = again.chosen(engine, sweep, key=task, sample=count)
        different, spec = 0, as_it_stands(sweep)
        score, exact = spec.score, spec.kind.features.exact
        for result in again.replay(engine, sweep, tasks):
            different += bool(result.differs)
            difference = "; ".join(result.differs) or "identical"
            before, now = result.numerics
            value = f"{score.number(result.score):>6} {score.unit}".rstrip()
            kind = f" (trained with numerics {before}, here {now})" if result.differs and before != now else ""
            show(f"{result.key:<28} {value}  {difference}{kind}")
    promised = "" if exact else "; this trainer does not promise the same score (trainer.exact = false)"
    if different and exact and spec.trainer.kind == CUSTOM:
        promised = "; derive every random number from the seed, or create a sweep with --set trainer.exact=false"
    print(f"{len(tasks)} rerun, {different} differ{promised}")
    raise typer.Exit(1 if different and exact else 0)

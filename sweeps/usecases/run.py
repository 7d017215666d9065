"""Run to the end: create, launch, publish, report."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy

from storage.db.engine import create_lock
from storage.errors import StorageError
from storage.records import queries
from storage.studies import ownership, space
from storage.url import masked
from sweeps.errors import NoResultsYet
from sweeps.extensions import KD, how_to_install, is_installed, require, trainer_extra
from sweeps.findings.findings import Findings, load
from sweeps.hints import PORTABLE, as_typed, explain, local
from sweeps.launch import launcher
from sweeps.launch.engine import DETACHED_VARIABLE, Request
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.plan import trials
from sweeps.plan.phases import STAGES
from sweeps.query.listing import open_sweep
from sweeps.report import answer, brief, document, folder, markdown, page, sentences
from sweeps.report.figures import data
from sweeps.spec.model import Spec
from sweeps.spec.stored import check_name
from sweeps.terminal import columns, say
from sweeps.trainers.protocol import label
from sweeps.usecases import create
from sweeps.workers import heartbeat, worker
from sweeps.workers.reach import Reach, Service, open_backend


def launch(request: Request, on: str = "local", *, workers: int | None = None, stays: bool = False) -> int:
    """Run workers until the sweep is finished; arguments, exit code and errors as `launcher.launch`."""
    launched = launcher.launch(request, on, workers=workers, stays=stays)
    if launched.finished:  # by any launch: the one that finished it may have been killed before it published
        publish(request.url, request.sweep)
    return launched.code


def work(reach: Reach, name: str, *, log_file: Path | None = None) -> int:
    """Run one worker in this process; returns its exit code. A worker of `launch` leaves publishing to it.

    log_file: that the output of this process goes to; None: it does not go to a file.
    """
    calls = heartbeat.take_parent_pipe()
    if not is_installed(trainer_extra(KD)):  # else no worker has to ask the storage for its trainer first
        with contextlib.closing(open_backend(reach, name)) as backend:
            require(trainer_extra(backend.spec.trainer.kind), "worker")
    launched_as, parent = os.environ.get(WORKER_VARIABLE), os.getppid()
    alone = launched_as is None or DETACHED_VARIABLE in os.environ
    with launcher.mirrored(reach, name) if alone else contextlib.nullcontext():
        code = worker.run_worker(reach, name, worker=launched_as, log_file=log_file, calls=calls)
    if code == 0 and (alone or os.getppid() != parent):  # the launch has gone, and cannot publish
        publish(reach, name)
    return code


def run_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, workers: int | None, data_dir: Path | None, verbose: bool = False
) -> int:
    """Create a sweep if needed, work on it, print its report. Returns the exit code of the launch.

    The first line says what will be downloaded, how much, and the expected minutes; verbose: every setting and task.
    """
    check_name(name)
    known = create.find(url, name)
    if not known:
        created = create.create_sweep(url, name, spec.kind.fetch(spec, data_dir, say), data_dir=data_dir)
        details = create.describe_details(created.spec, created.plan) if verbose else []
        say("\n".join([*create.describe_plan(created.spec, created.plan, url, created.data_lines), *details]))
    else:
        first, spec = known[0].spec, create.by_its_rule(known, spec)
        if spec.fingerprint not in {revision.fingerprint for revision in known}:
            spec = spec.kind.as_created(spec, first)
            create.refuse_another(name, known, create.freeze(spec, data_dir=data_dir))
        say(f"{name} exists in {masked(url)}: {first['note'] or 'resuming it'}")
    code = launch(Request(url, name), workers=workers)
    if code in (0, 1):
        _print_report(url, name)
    return code


def _print_report(url: sqlalchemy.URL, name: str) -> None:
    with open_sweep(url, name) as (engine, sweep):
        findings = load(engine, sweep)
    written = str(folder.write(findings, Path(f"{name}-report"))) if is_installed("report") else ""
    wide = columns()
    if wide is None:
        print(page.report(findings))
    say("\nNext:")
    is_kd = findings.spec.trainer.kind == KD
    commands = {
        local().best(name): f"the best {', '.join(map(label, findings.spec.kind.space(findings.spec)))}",
        local().line("trials", name, "-f csv"): "all runs, for your own analysis",
        local().line("dashboard", name): "live page, with a link to optuna-dashboard",
        **({local().spec("full > my.toml"): "a bigger sweep: edit, then create NAME my.toml"} if is_kd else {}),
    }
    width = max(map(len, commands))
    for command, why in commands.items():
        say(f"{command:<{width}} # {why}")
    if wide is not None:
        print(f"\n{brief.brief(findings, columns=wide, page=written)}")
    else:
        say(f"\n{as_typed(answer.announced(findings))}")
        if written:
            say(f"\nFull page with figures: {written}")
    if not written:
        say(f"the page with its figures needs more packages: {how_to_install('report')}")


def study_note(findings: Findings, ids: Mapping[str, int]) -> str:
    """Return the page of the search study as Markdown.

    ids: of the studies, which are the numbers of their pages; those that were deleted have none.
    """
    name = findings.name
    linked = {stage: ids[space.study_name(name, stage)] for stage in STAGES if space.study_name(name, stage) in ids}
    siblings = ", ".join(f"[{stage}](/dashboard/studies/{number})" for stage, number in linked.items())
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in findings.spec.kind.report().notes(findings.spec))
    compared = ",".join(str(linked[stage]) for stage in ("search", "native") if stage in linked)
    blocks = [
        *page.note(findings),
        *answer.blocks(findings),
        *page.further(findings),
        *(
            document.Paragraph(lost)
            for verdict in findings.verdicts[:1]
            if (lost := sentences.regret(findings.spec, verdict))
        ),
        *(block for role in findings.report_roles for block in page.scores(findings, role)),
        document.Paragraph(
            "The key figure is on the first page of this study. The best trial shown there is the highest of many"
            f" single runs, which is partly luck: `{PORTABLE.best(name)}` gives the confirmed best.{notes}"
        ),
        document.Paragraph(
            f"Studies of this sweep: {siblings};"
            f" [search and native compared](/dashboard/compare-studies?ids={compared})."
        ),
        *page.signature(findings),
    ]
    return f"{markdown.text(blocks)}\n"


def plots(findings: Findings) -> dict[str, str]:
    """Return the figures of the page: plotly figures as JSON, by name; none where no server is installed."""
    if not is_installed("server"):
        say(f"the figures of the dashboard need more packages: {how_to_install('server')}")
        return {}
    from sweeps.report.figures.plotly_figures import figures

    spec = findings.spec
    answered = {spec.role(role).dataset for role in spec.targets or ("source",)}
    gains = [mark for mark in data.gains(findings) if mark.dataset in answered]
    return {key: str(figure.to_json()) for key, figure in figures(gains, data.parameters(spec)).items()}


def publish(reach: Reach, name: str) -> None:
    """Let every trial show how it ended, and put what the report says where people who watch the dashboard see it.

    A service does so itself.

    Two workers that finish together publish one after the other; the second one finds its text there already and
    writes nothing. Nothing depends on the page, so a failure (a deleted study, a database that went away) is reported
    in one line.
    """
    from storage.studies.studies import open_studies

    try:
        if isinstance(reach, Service):
            reach.backend(name).publish()
            return
        with open_sweep(reach, name, write=True) as (engine, sweep):
            trials.complete(engine, sweep)
        # One at a time: two that replace the plots of a study at once insert the same keys.
        with create_lock(reach), contextlib.closing(open_studies(reach)) as opened:
            sweep = queries.find_sweep(opened.engine, name)
            findings, owner = load(opened.engine, sweep), ownership.owner_of(opened.engine, sweep.id)
            text = study_note(findings, opened.ids())
            opened.publish(space.study_name(name, "search"), owner=owner, note=text, plots=plots(findings))
    except NoResultsYet:
        pass  # everything has ended, most of it by failing, as the caller says: there is no answer to publish
    except StorageError as error:
        say(f"could not publish the answer to optuna-dashboard: {explain(error)}")

"""Run to the end: create, launch, publish, report."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy
from rich.console import Console

from kd.data import sources
from kd.data.datasets import is_own
from kd.errors import DataError
from storage.db.engine import create_lock
from storage.errors import StorageError
from storage.records import queries
from storage.studies.ownership import owner_of
from storage.studies.space import study_name
from storage.studies.studies import open_studies
from storage.url import masked
from sweeps.contrib.slurm import DETACHED_VARIABLE
from sweeps.distill import freeze
from sweeps.distill.presets import WITHOUT_DOWNLOAD
from sweeps.distill.spec import formula
from sweeps.errors import NoResultsYet
from sweeps.findings.findings import Findings, load
from sweeps.hints import PORTABLE, explain, local
from sweeps.launch import launcher
from sweeps.launch.engine import Request
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.plan.plan import STAGES
from sweeps.query.listing import open_sweep
from sweeps.report import answer, markdown
from sweeps.report.brief import brief
from sweeps.report.document import Paragraph
from sweeps.report.figures.data import pictures
from sweeps.report.figures.plotly_figures import figures
from sweeps.report.page import accuracies, further, note, report, signature
from sweeps.report.sentences import regret
from sweeps.spec.model import ROLES, Spec
from sweeps.spec.stored import check_name
from sweeps.terminal import columns, say
from sweeps.usecases import create


def launch(
    url: sqlalchemy.URL,
    name: str,
    *,
    workers: int | None = None,
    on: str = "local",
    options: Sequence[str] = (),
    gpus: Sequence[str] = (),
    console: Console | None = None,
    stays: bool = False,
) -> int:
    """Run workers until the sweep is finished; exit code and errors as `launcher.launch`.

    Args:
        on: the engine. options, gpus: for it, see `sweeps.launch.engine.Request`.
        stays: see `launcher.launch`.
    """
    launched = launcher.launch(Request(url, name, options, gpus), on, workers=workers, console=console, stays=stays)
    if launched.finished:  # by any launch: the one that finished it may have been killed before it published
        publish(url, name)
    return launched.code


def work(url: sqlalchemy.URL, name: str, *, log_file: Path | None = None) -> int:
    """Run one worker in this process; returns its exit code.

    A worker of `launch` leaves the publishing to it, unless that has gone.

    Args:
        log_file: that the output of this process goes to; None: it does not go to a file.
    """
    from sweeps.workers import heartbeat
    from sweeps.workers.worker import run_worker

    heartbeat.exit_with_parent()
    launched_as, parent = os.environ.get(WORKER_VARIABLE), os.getppid()
    alone = launched_as is None or DETACHED_VARIABLE in os.environ
    code = run_worker(url, name, worker=launched_as, log_file=log_file)
    if code == 0 and (alone or os.getppid() != parent):
        publish(url, name)
    return code


def run_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, workers: int | None, data_dir: Path | None, verbose: bool = False
) -> int:
    """Create a sweep if needed, work on it, print its report. Returns the exit code of the launch.

    The first line says what will be downloaded, how much, and the expected minutes.

    Args:
        verbose: say every setting and task of a new sweep.
    """
    check_name(name)
    known = create.find(url, name)
    if not known:
        created = create.create_sweep(url, name, with_data(spec, data_dir), data_dir=data_dir)
        details = create.describe_details(created.spec, created.plan) if verbose else []
        say("\n".join([*create.describe_plan(created.spec, created.plan, url, created.data_lines), *details]))
    else:
        first, spec = known[0].spec, create.by_its_rule(known, spec)
        if spec.fingerprint not in {revision.fingerprint for revision in known}:
            stored = [first[role]["dataset"] for role in ROLES if first.get(role)]
            if first["note"] and [spec.role(role).dataset for role in spec.roles] != stored:
                spec = _without_download(spec, first["note"])  # its datasets could not be had when it was created
            create.refuse_another(name, known, create.resolve(spec, data_dir=data_dir))
        say(f"{name} exists in {masked(url)}: {first['note'] or 'going on with it'}")
    code = launch(url, name, workers=workers)
    if code in (0, 1):
        _print_report(url, name)
    return code


def with_data(spec: Spec, data_dir: Path | None) -> Spec:
    """Fetch the data of a spec. Returns the spec, or the same on digits -> digits-rgb where the data is unavailable."""
    names = [spec.role(role).dataset for role in spec.roles]
    public = [name for name in names if not is_own(name)]
    missing = [location for name in public if not (location := sources.where(name, data_dir)).available]
    try:
        if not missing:
            spec = freeze.with_images(spec, data_dir)
        say(f"{_first_line(missing)}; {_expected(spec)}")
        for location in missing:
            freeze.fetch(location.name, data_dir=data_dir)
    except DataError as error:
        if spec.preset != "quick" or names != ["mnist", "cifar10"]:
            raise
        note = "MNIST and CIFAR-10 could not be downloaded, so this sweep runs digits -> digits-rgb instead"
        say(f"{note}. Why: {' '.join(str(error).split())}")
        return _without_download(spec, note)
    return spec


def _expected(spec: Spec) -> str:
    known = all(spec.role(role).images for role in spec.roles)
    return (
        f"about {create.on_two_cores(spec)} on 2 cores"
        if known
        else "how long it takes is known when the data are here"
    )


def _first_line(missing: list[sources.Location]) -> str:
    parts = [
        f"{location.name} ({max(way.bytes for way in location.to_fetch) / 1e6:.0f} MB at most)"
        for location in missing
        if location.to_fetch
    ]
    return f"downloading {', '.join(parts)} into the cache" if parts else "nothing to download"


def _without_download(spec: Spec, note: str) -> Spec:
    return spec.model_copy(update={**WITHOUT_DOWNLOAD, "note": note})


def _print_report(url: sqlalchemy.URL, name: str) -> None:
    from sweeps.report.folder import write  # scipy and matplotlib take a second

    with open_sweep(url, name) as (engine, sweep):
        findings = load(engine, sweep)
    page = write(findings, Path(f"{name}-report"))
    wide = columns()
    if wide is None:
        print(report(findings))
    say("\nNext:")
    commands = {
        local().best(name): "T, alpha and how sure they are",
        local().line("trials", name, "-f csv"): "every run, for your own analysis",
        local().line("dashboard", name): "the sweep as a page, and optuna-dashboard",
        local().spec("full > my.toml"): "a bigger sweep: edit, then create NAME my.toml",
    }
    width = max(map(len, commands))
    for command, why in commands.items():
        say(f"{command:<{width}} # {why}")
    if wide is not None:
        print(f"\n{brief(findings, columns=wide, page=str(page))}")
    else:
        say(f"\n{answer.headline(findings)}\n\nThe whole page, with figures: {page}")


def study_note(findings: Findings, ids: Mapping[str, int]) -> str:
    """Return the page of the search study as Markdown.

    Args:
        ids: of the studies, which are the numbers of their pages; those that were deleted have none.
    """
    name = findings.name
    linked = {stage: ids[study_name(name, stage)] for stage in STAGES if study_name(name, stage) in ids}
    siblings = ", ".join(f"[{stage}](/dashboard/studies/{number})" for stage, number in linked.items())
    compared = ",".join(str(linked[stage]) for stage in ("search", "native") if stage in linked)
    blocks = [
        *note(findings),
        *answer.blocks(findings),
        *further(findings),
        *(Paragraph(lost) for verdict in findings.verdicts[:1] if (lost := regret(verdict))),
        *(block for role in findings.report_roles for block in accuracies(findings, role)),
        Paragraph(
            "The key figure is on the first page of this study. The best trial shown there is the highest of many"
            f" single runs, which is partly luck: `{PORTABLE.best(name)}` gives the confirmed best. Loss:"
            f" `{formula(findings.spec.training.distillation)}`; alpha weighs the labels."
        ),
        Paragraph(
            f"Studies of this sweep: {siblings};"
            f" [search and native compared](/dashboard/compare-studies?ids={compared})."
        ),
        *signature(findings),
    ]
    return f"{markdown.text(blocks)}\n"


def plots(findings: Findings) -> dict[str, str]:
    """Return the figures of the page: plotly figures as JSON, by name."""
    return {key: str(figure.to_json()) for key, figure in figures(pictures(findings)).items()}


def publish(url: sqlalchemy.URL, name: str) -> None:
    """Put what the report says of a sweep where people who watch the dashboard see it.

    Two workers that finish together publish one after the other; the second one finds its text there already and
    writes nothing. Nothing depends on the page, so a failure (a deleted study, a database that went away) is reported
    in one line.
    """
    try:
        # One at a time: two that replace the plots of a study at once insert the same keys.
        with create_lock(url), contextlib.closing(open_studies(url)) as opened:
            sweep = queries.find_sweep(opened.engine, name)
            findings, owner = load(opened.engine, sweep), owner_of(opened.engine, sweep.id)
            text = study_note(findings, opened.ids())
            opened.publish(study_name(name, "search"), owner=owner, note=text, plots=plots(findings))
    except NoResultsYet:
        pass  # everything has ended, most of it by failing, as the caller says: there is no answer to publish
    except StorageError as error:
        say(f"the answer could not be published to the dashboard: {explain(error)}")

"""Run a sweep to its end: create, launch, publish, report."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy

from storage.db.engine import create_lock
from storage.errors import StorageError
from storage.records import queries
from storage.studies import ownership, space
from storage.url import masked
from sweeps.errors import NoResultsYet
from sweeps.extensions import KD, how_to_install, is_installed
from sweeps.findings.findings import Findings, load
from sweeps.hints import PORTABLE, as_typed, explain, local
from sweeps.launch import launcher
from sweeps.launch.engine import Request
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
from sweeps.workers.reach import Reach, Service


def launch(request: Request, on: str = "local", *, workers: int | None = None, stays: bool = False) -> int:
    """Run workers until the sweep is finished; arguments, exit code and errors as `launcher.launch`."""
    code = launcher.launch(request, on, workers=workers, stays=stays)
    if code in (0, 1):  # finished, perhaps by another launch that was killed before it published
        publish(request.url, request.sweep)
    return code


def run_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, workers: int | None, data_dir: Path | None, verbose: bool = False
) -> int:
    """Create a sweep if needed, run it, print its report; return the exit code of the launch.

    The first line announces downloads and the expected minutes. verbose: print every setting and task.
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
        # Without a result there is no report; the launch has said what failed, and code 3 would ask to wait.
        with contextlib.suppress(NoResultsYet) if code else contextlib.nullcontext():
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
    space = ", ".join(map(label, findings.spec.kind.space(findings.spec)))
    commands = {
        f"the best {space}": local().line("best", name),
        "all runs, for your own analysis": local().line("trials", name, "-f csv"),
        "live page, with a link to optuna-dashboard": local().line("dashboard", name),
        **({"a bigger sweep, to edit and create": local().line("spec", "full > my.toml")} if is_kd else {}),
    }
    for purpose, command in commands.items():
        say(f"  {purpose}: {command}")
    if wide is not None:
        print(f"\n{brief.brief(findings, columns=wide, page=written)}")
    else:
        say(f"\n{as_typed(answer.announced(findings))}")
        if written:
            say(f"\nFull page with figures: {written}")
    if not written:
        say(f"the page with its figures needs more packages: {how_to_install('report')}")


def study_note(findings: Findings, ids: Mapping[str, int]) -> str:
    """Return the dashboard page of the search study as Markdown.

    ids: of the studies, for links to their pages; deleted ones have none.
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
            f" single runs, which is partly luck: `{PORTABLE.line('best', name)}` gives the confirmed best.{notes}"
        ),
        document.Paragraph(
            f"Studies of this sweep: {siblings};"
            f" [search and native compared](/dashboard/compare-studies?ids={compared})."
        ),
        *page.signature(findings),
    ]
    return f"{markdown.text(blocks)}\n"


def plots(findings: Findings) -> dict[str, str]:
    """Return plotly figures of the dashboard page as JSON, by name; none without the extra server."""
    if not is_installed("server"):
        say(f"the figures of the dashboard need more packages: {how_to_install('server')}")
        return {}
    from sweeps.report.figures.plotly_figures import figures

    spec = findings.spec
    answered = {spec.role(role).dataset for role in spec.targets or ("source",)}
    gains = [mark for mark in data.gains(findings) if mark.dataset in answered]
    return {key: str(figure.to_json()) for key, figure in figures(gains, data.parameters(spec)).items()}


def publish(reach: Reach, name: str) -> None:
    """Draw the ends of all trials, and put the report on the dashboard page; a service does so itself.

    Two workers that finish together publish in turn; the second finds the same text and writes nothing. Nothing depends
    on the page, so a failure (a deleted study, an unreachable database) is reported in one line.
    """
    from storage.studies.studies import open_studies

    try:
        if isinstance(reach, Service):
            reach.backend(name).publish()
            return
        with open_sweep(reach, name, write=True) as (engine, sweep):
            trials.complete(engine, sweep)
        # One at a time: two processes that replace the plots of a study at once insert the same keys.
        with create_lock(reach), contextlib.closing(open_studies(reach)) as opened:
            sweep = queries.find_sweep(opened.engine, name)
            findings, owner = load(opened.engine, sweep), ownership.owner_of(opened.engine, sweep.id)
            text = study_note(findings, opened.ids())
            opened.publish(space.study_name(name, "search"), owner=owner, note=text, plots=plots(findings))
    except NoResultsYet:
        pass  # all tasks have ended, without an answer to publish; the caller reports the failures
    except StorageError as error:
        say(f"could not publish the answer to optuna-dashboard: {explain(error)}")

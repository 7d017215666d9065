"""OPERATIONS: all queries and commands; the routes, the HTTP client and the command line are derived from it.

Slow modules are imported inside the functions, so that a command imports only what it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from storage.audit.audit import Audit
from storage.records import queries
from sweeps.extensions import require
from sweeps.operations.operation import Args, LocalClient, Operation
from sweeps.plan.plan import Extended
from sweeps.query.best import Best, best
from sweeps.query.listing import SweepRow, TrialRow, sweep_rows, trial_rows
from sweeps.query.status import KEEP, Status, WorkerRow, fingerprints, stage_counts, status, worker_rows
from sweeps.spec.stored import as_it_stands
from sweeps.spec.tables import MOST

if TYPE_CHECKING:  # takes a tenth of a second, and few operations need it
    from sweeps.findings.findings import Findings


@dataclass(frozen=True, kw_only=True)
class AuditAnswer:
    """An audit. unavailable: number of tasks that cannot run here, by stage. If rows are damaged, the rest is empty.

    answer_hash: None until every task has ended. notes: lines for display on the reproducibility of the answer.
    """

    audit: Audit
    unavailable: Mapping[str, int]
    answer_hash: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Number of tasks that are running (pause), left (resume) or cancelled (cancel)."""

    tasks: int


@dataclass(frozen=True, kw_only=True)
class Retried:
    """The keys of the tasks that are queued again."""

    tasks: tuple[str, ...]


class SweepArgs(Args):
    """The name of a sweep."""

    name: str


class TrialsArgs(SweepArgs):
    """stage: only tasks of this stage."""

    stage: Annotated[str | None, Field(description="Only the tasks of this stage.", max_length=100)] = None


_More = Annotated[int, Field(ge=0, le=MOST, strict=True)]  # strict, since an extension cannot be undone


class ExtendRequest(Args):
    """An extension of a sweep. dry_run: only return what it adds and which evaluation it uses."""

    trials: _More = 0
    seeds: _More = 0
    searches: _More = 0
    dry_run: Annotated[bool, Field(strict=True)] = False


class ExtendArgs(ExtendRequest, SweepArgs):
    """An extension, and its sweep."""


def _sweeps(client: LocalClient, _: Args) -> Sequence[SweepRow]:
    with client.engine() as engine:
        return sweep_rows(engine)


def _status(client: LocalClient, args: SweepArgs) -> Status:
    with client.open(args.name) as (engine, sweep):
        return status(engine, sweep)


def _audit(client: LocalClient, args: SweepArgs) -> AuditAnswer:
    require("train", "status --audit")
    from sweeps.plan.audit import audit

    with client.open(args.name) as (engine, sweep):
        result = audit(engine, sweep)
        if result.violations:  # damaged rows cannot be read
            return AuditAnswer(audit=result, unavailable={}, answer_hash=None, notes=())
        hashes = fingerprints(engine, sweep)
        counts = stage_counts(engine, sweep.id)
    missing = {stage: count.unavailable for stage, count in counts.items()}
    notes = tuple(hashes.lines())
    return AuditAnswer(audit=result, unavailable=missing, answer_hash=hashes.answer_hash, notes=notes)


def _workers(client: LocalClient, args: SweepArgs) -> Sequence[WorkerRow]:
    with client.open(args.name) as (engine, sweep):
        done = queries.task_records(engine, sweep.id, state="done", keep=KEEP)
        return worker_rows(engine, sweep, as_it_stands(sweep), done)


def _best(client: LocalClient, args: SweepArgs) -> Best:
    with client.open(args.name) as (engine, sweep):
        point = best(engine, sweep)
        if not point.answer_hash:
            return point
        from sweeps.findings.findings import load
        from sweeps.report.answer import summary
        from sweeps.report.words import display_name, parameter_effect

        findings = load(engine, sweep)
    source, answer = findings.surfaces[0], summary(findings)
    effect = parameter_effect(source, findings.spec.score)
    more = (f"{display_name(source.dataset)}: {effect}.",) if effect else ()
    return replace(point, summary=(answer, *more))


def _trials(client: LocalClient, args: TrialsArgs) -> Sequence[TrialRow]:
    with client.open(args.name) as (engine, sweep):
        return trial_rows(engine, sweep, args.stage)


def _findings(client: LocalClient, args: SweepArgs) -> "Findings":
    from sweeps.findings.findings import load

    with client.open(args.name) as (engine, sweep):
        return load(engine, sweep)


def _steering() -> Any:
    from sweeps.usecases import steering

    return steering


def _extend(client: LocalClient, args: ExtendArgs) -> Extended:
    require("train", "extend")
    extended: Extended = _steering().extend(client.url, **args.model_dump())
    return extended


def _counting(name: str, summary: str) -> Operation[SweepArgs, Counted]:
    """Return the command that calls the function of `steering` of that name."""
    return Operation(
        name=name,
        summary=summary,
        args=SweepArgs,
        answer=Counted,
        changes=True,
        path=f"sweeps/{{name}}/{name}",
        run=lambda client, args: Counted(tasks=getattr(_steering(), name)(client.url, args.name)),
    )


SWEEPS: Operation[Args, Sequence[SweepRow]] = Operation(
    name="list_sweeps",
    summary="List the sweeps, oldest first.",
    args=Args,
    answer=SweepRow,
    rows=True,
    path="sweeps",
    run=_sweeps,
)
STATUS: Operation[SweepArgs, Status] = Operation(
    name="status",
    summary="Return tasks by stage and state, workers, the time left and failures.",
    args=SweepArgs,
    answer=Status,
    path="sweeps/{name}",
    run=_status,
)
BEST: Operation[SweepArgs, Best] = Operation(
    name="best",
    summary="Return the best point with its confidence interval.",
    args=SweepArgs,
    answer=Best,
    path="sweeps/{name}/best",
    run=_best,
)
TRIALS: Operation[TrialsArgs, Sequence[TrialRow]] = Operation(
    name="trials",
    summary="List the tasks with their trials and results, in the order of the plan.",
    args=TrialsArgs,
    answer=TrialRow,
    rows=True,
    path="sweeps/{name}/trials",
    run=_trials,
)
WORKERS: Operation[SweepArgs, Sequence[WorkerRow]] = Operation(
    name="workers",
    summary="List the workers of a sweep, ended ones too, oldest first.",
    args=SweepArgs,
    answer=WorkerRow,
    rows=True,
    path="sweeps/{name}/workers",
    run=_workers,
)
AUDIT: Operation[SweepArgs, AuditAnswer] = Operation(
    name="audit",
    summary="Compare the plan, the tasks, their attempts and Optuna's trials: nothing lost, nothing counted twice.",
    args=SweepArgs,
    answer=AuditAnswer,
    path="sweeps/{name}/audit",
    run=_audit,
)
FINDINGS: Operation[SweepArgs, "Findings"] = Operation(
    name="findings",
    summary="Return the data of a report, for `kd-sweeps report --url` of the same version.",
    args=SweepArgs,
    answer="sweeps.findings.findings:Findings",
    path="sweeps/{name}/findings",
    run=_findings,
)
PAUSE = _counting("pause", "Start no new tasks; running tasks finish. Returns how many are running.")
RESUME = _counting("resume", "Resume a paused or cancelled sweep where it stopped. Returns how many tasks are left.")
CANCEL = _counting("cancel", "Stop all workers of a sweep on all machines. Returns how many tasks were cancelled.")
EXTEND: Operation[ExtendArgs, Extended] = Operation(
    name="extend",
    summary="Add trials, seeds or searches. With dry_run: only return what that adds and which evaluation it uses.",
    args=ExtendArgs,
    body=ExtendRequest,
    answer=Extended,
    changes=True,
    path="sweeps/{name}/extend",
    run=_extend,
)
RETRY: Operation[SweepArgs, Retried] = Operation(
    name="retry",
    summary="Queue failed and skipped tasks again. Returns their keys.",
    args=SweepArgs,
    answer=Retried,
    changes=True,
    path="sweeps/{name}/retry",
    run=lambda client, args: Retried(tasks=tuple(_steering().retry(client.url, args.name))),
)
OPERATIONS = (SWEEPS, STATUS, BEST, TRIALS, WORKERS, AUDIT, FINDINGS, PAUSE, RESUME, CANCEL, EXTEND, RETRY)
"""In the order of the API."""

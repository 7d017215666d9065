"""The routes: questions, logs, creating and steering sweeps, probes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from storage.records import queries
from sweeps.contrib.server import models
from sweeps.contrib.server.metrics import Metrics
from sweeps.contrib.server.problems import LOG, RESPONSES, check_allowed, problem
from sweeps.contrib.server.state import PING_S, Name, Serving
from sweeps.errors import SpecError, SweepError
from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.operations.operation import AuditAnswer, Counted, ExtendArgs, Extended, Retried
from sweeps.query.listing import SweepRow, TrialRow
from sweeps.query.status import Status, WorkerRow
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import check_name
from sweeps.spec.tables import MOST
from sweeps.usecases.logs import POLL_S, Followed

router = APIRouter(prefix="/api/v1", tags=["sweeps"], responses=RESPONSES)

Stage = Annotated[str | None, Query(description="Only the tasks of this stage.", max_length=100)]
Form = Literal["json", "html", "markdown"]
_FORMS: dict[str, Form] = {"text/html": "html", "text/markdown": "markdown", "application/json": "json"}
_drawing = threading.Lock()  # a page takes seconds of a core: one at a time
_LOCKED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_MOST_FOLLOWERS = 100
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Text; with follow events: a message for each line, then `end`, or `problem`.",
        "content": {"text/plain": {"schema": {"type": "string"}}, "text/event-stream": {"schema": {"type": "string"}}},
    }
}
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/sweeps", response_model=models.Page[SweepRow])
def list_sweeps(served: Serving, limit: models.Limit = 100, offset: models.Offset = 0) -> Response:
    """List the sweeps, oldest first."""
    rows, total = served.rows(limit=limit, offset=offset)
    return models.page(SweepRow, rows, total=total, offset=offset)


@router.get("/sweeps/{name}", response_model=Status)
def status(served: Serving, name: Name) -> Response:
    """Say where a sweep stands: tasks by stage and state, workers, the time left, what failed."""
    return models.answer(Status, served.database.status(name))


@router.get("/sweeps/{name}/best", response_model=models.BestShown)
def best(served: Serving, name: Name) -> Response:
    """Return the best temperature and alpha, and how sure they are."""
    answer = served.database.best(name)
    point = answer.best
    body = models.BestShown(best=point, said=answer.said, confirmed=point.confirmed, paste=dict(point.paste))
    return models.answer(models.BestShown, body)


@router.get("/sweeps/{name}/trials", response_model=models.Page[TrialRow])
def trials(
    served: Serving, name: Name, stage: Stage = None, limit: models.Limit = 100, offset: models.Offset = 0
) -> Response:
    """List the tasks with their trials and results, in the order of the plan."""
    rows = served.database.trials(name, stage)
    return models.page(TrialRow, rows[offset : offset + limit], total=len(rows), offset=offset)


@router.get("/sweeps/{name}/workers", response_model=models.Page[WorkerRow])
def workers(served: Serving, name: Name, limit: models.Limit = 100, offset: models.Offset = 0) -> Response:
    """List every worker that ever worked on a sweep, oldest first."""
    rows = served.database.workers(name)
    return models.page(WorkerRow, rows[offset : offset + limit], total=len(rows), offset=offset)


@router.get("/sweeps/{name}/audit", response_model=AuditAnswer)
def audit(served: Serving, name: Name) -> Response:
    """Compare the plan, the tasks, their attempts and Optuna's trials: nothing lost, nothing counted twice."""
    return models.answer(AuditAnswer, served.database.audit(name))


@router.get("/sweeps/{name}/findings", response_model=Findings)
def findings(served: Serving, name: Name) -> Response:
    """Return everything that a report is made of, for `kd-sweeps report --url` of the same version."""
    return models.answer(Findings, _without_half_looks(served.database.findings(name)))


@router.get(
    "/sweeps/{name}/report",
    response_model=dict[str, Any],
    responses={200: {"content": {"text/html": {}, "text/markdown": {}}}},
)
def report(
    request: Request,
    served: Serving,
    name: Name,
    form: Annotated[Form | None, Query(alias="format", description="Else what Accept asks for, else JSON.")] = None,
) -> Response:
    """Return the report: as `report -f json` prints it, as Markdown, or as the page with its figures."""
    from sweeps.report.folder import PAGE, files, json_data
    from sweeps.report.page import report as markdown

    results = served.database.findings(name)
    wanted = form or _accepted(request.headers.get("accept", ""))
    if wanted == "html":
        with _drawing:
            return Response(_utf8(files(results)[PAGE]), media_type="text/html; charset=utf-8", headers=_LOCKED)
    if wanted == "markdown":
        return Response(_utf8(f"{markdown(results)}\n"), media_type="text/markdown; charset=utf-8")
    return models.answer(dict[str, Any], json_data(results))


def _accepted(accept: str) -> Form:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), "json")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # as a report is written into a file


def _without_half_looks(findings: Findings) -> Findings:
    """Leave out what the test says of a dataset whose look is not complete, as every page does."""
    hidden = {role for role in findings.spec.roles if is_incomplete(findings.trainings, role)}
    trainings = tuple(
        replace(training, outcome=training.outcome.model_copy(update={"test_accuracy": None}))
        if training.work.role in hidden and training.outcome is not None
        else training
        for training in findings.trainings
    )
    return replace(findings, trainings=trainings)


@router.get("/sweeps/{name}/tasks/{key:path}/log", response_class=Response, responses=_EVENTS)
async def log(
    request: Request,
    served: Serving,
    name: Name,
    key: str,
    follow: Annotated[bool, Query(description="Go on until the attempt has ended.")] = False,
    attempt: Annotated[int | None, Query(ge=1, le=MOST, description="Only this attempt.")] = None,
    lines: Annotated[int | None, Query(ge=0, le=MOST, description="Only the last lines of each attempt.")] = None,
) -> Response:
    """Return what was logged and printed while a task ran, on whatever machine, and why it failed."""
    database = served.database
    if not follow:
        logged = await run_in_threadpool(database.log, name, key, attempt=attempt, lines=lines)
        return Response("\n".join(logged).encode("utf-8", "backslashreplace"), media_type="text/plain; charset=utf-8")
    state = request.app.state
    if state.followers >= _MOST_FOLLOWERS:
        return problem(503, f"{_MOST_FOLLOWERS} logs are followed already; try again later")
    followed = Followed(database.url, name, key, attempt=attempt, lines=lines)
    first = await run_in_threadpool(followed.more)  # what is wrong with the question is told as a problem
    return EventSourceResponse(_events(state, followed, first), ping=PING_S, sep="\n")


async def _events(state: Any, followed: Followed, first: list[str]) -> AsyncIterator[ServerSentEvent]:
    state.followers += 1
    try:
        for line in first:
            yield _line(line)
        while not followed.ended:
            await asyncio.sleep(POLL_S)
            for line in await run_in_threadpool(followed.more):
                yield _line(line)
        yield ServerSentEvent(event="end", data="", sep="\n")
    except (SweepError, KdError) as error:
        yield _problem(str(error))
    except StorageError as error:
        LOG.error("a log is followed no more: %s", error)
        yield _problem("the service can no longer read its database, or the sweep was deleted; its log says why")
    finally:
        state.followers -= 1


def _line(text: str) -> ServerSentEvent:
    return ServerSentEvent(data=text.encode("utf-8", "backslashreplace").decode(), sep="\n")


def _problem(detail: str) -> ServerSentEvent:
    return ServerSentEvent(event="problem", data=json.dumps({"detail": detail}), sep="\n")


steering_router = APIRouter(prefix="/api/v1", tags=["steering"], responses=RESPONSES)


@steering_router.post(
    "/sweeps",
    response_model=models.CreatedSweep,
    status_code=201,
    responses={200: {"model": models.CreatedSweep, "description": "It was there already, with this spec."}},
)
def create(served: Serving, body: models.CreateRequest) -> Response:
    """Write a sweep with all its tasks: 201 if it is new, 200 if it is there, 409 if another spec has its name."""
    from sweeps.usecases.create import SpecRequest, create_sweep

    name = served.check(check_name(body.name))
    spec = _base(body)
    spec = SpecRequest(spec, body.changes).spec()
    check_allowed(spec, allow_code=served.allow_code)
    made = create_sweep(served.database.url, name, spec)
    fingerprint, tasks = made.spec.fingerprint, len(made.plan.tasks)
    created = models.CreatedSweep(name=name, new=made.new, fingerprint=fingerprint, tasks=tasks)
    headers = {"Location": f"/api/v1/sweeps/{name}"}
    return models.answer(models.CreatedSweep, created, 201 if made.new else 200, headers)


def _base(body: models.CreateRequest) -> Spec:
    if (body.preset is None) == (body.spec is None):
        raise SpecError('give either a preset, for example {"preset": "tiny"}, or a whole spec')
    from sweeps.usecases.create import preset

    return preset(body.preset or "") if body.spec is None else parse(body.spec, origin="spec", new=True)


@steering_router.post("/sweeps/{name}/pause", response_model=Counted)
def pause(served: Serving, name: Name) -> Response:
    """Stop starting tasks; running tasks finish. Says how many are running."""
    return models.answer(Counted, Counted(tasks=served.database.pause(name)))


@steering_router.post("/sweeps/{name}/resume", response_model=Counted)
def resume(served: Serving, name: Name) -> Response:
    """Go on after a pause or a cancel, from the same point. Says how many tasks are left."""
    return models.answer(Counted, Counted(tasks=served.database.resume(name)))


@steering_router.post("/sweeps/{name}/cancel", response_model=Counted)
def cancel(served: Serving, name: Name) -> Response:
    """Stop all workers of a sweep, on every machine. Says how many tasks were taken back."""
    return models.answer(Counted, Counted(tasks=served.database.cancel(name)))


@steering_router.post("/sweeps/{name}/extend", response_model=Extended)
def extend(served: Serving, name: Name, body: models.ExtendRequest) -> Response:
    """Add trials, seeds or searches; with dry_run only say what that adds and which look at the test it spends."""
    more = ExtendArgs(trials=body.trials, seeds=body.seeds, searches=body.searches)
    planned = served.database.extension(name, more)
    if not body.dry_run:
        planned = Extended(tasks=served.database.extend(name, more), look=planned.look)
    return models.answer(Extended, planned)


@steering_router.post("/sweeps/{name}/retry", response_model=Retried)
def retry(served: Serving, name: Name) -> Response:
    """Let failed tasks wait again, and those that were skipped because of them. Says which."""
    return models.answer(Retried, Retried(tasks=tuple(served.database.retry(name))))


probes_router = APIRouter(tags=["probes"], responses=RESPONSES)


@probes_router.get("/healthz", response_model=models.Health)
async def healthz() -> Response:
    """Say that the process answers; it asks no database."""
    return models.answer(models.Health, models.Health(status="ok", version=_version()))


@probes_router.get("/readyz", response_model=models.Health)
def readyz(served: Serving) -> Response:
    """Say whether the database answers, too; 503 if it does not."""
    with served.database.engine() as engine:
        queries.is_sweep(engine, "")
    return models.answer(models.Health, models.Health(status="ready", version=_version()))


@probes_router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Return tasks, workers, seconds, retries, lost leases and best scores, for Prometheus."""
    counters: Metrics = request.app.state.metrics
    return Response(counters.text(), media_type=_TEXT)


@cache
def _version() -> str:
    try:
        return metadata.version("kd-sweeps")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"

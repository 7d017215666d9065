"""The routes: questions, logs, creating and steering sweeps, probes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cache
from importlib import metadata
from inspect import Parameter, Signature
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
from sweeps.contrib.server.state import PING_S, Name, Served, Serving
from sweeps.errors import SpecError, SweepError
from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.operations.operation import Operation
from sweeps.operations.table import FINDINGS, OPERATIONS, SWEEPS, SweepArgs
from sweeps.query.listing import SweepRow
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import check_name
from sweeps.spec.tables import MOST
from sweeps.usecases.logs import POLL_S, Followed

router = APIRouter(prefix="/api/v1", tags=["sweeps"], responses=RESPONSES)

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


def add_route(to: APIRouter, operation: Operation[Any, Any]) -> None:
    """Add the route of an operation on one sweep, with everything that OpenAPI says of it."""
    kind = operation.kind

    def endpoint(served: Served, name: str, limit: int = 100, offset: int = 0, **given: Any) -> Response:
        values = given.pop("body").model_dump() if operation.body else given
        answer = served.database.ask(operation, operation.args(name=name, **values))
        if operation.rows:
            return models.page(kind, answer[offset : offset + limit], total=len(answer), offset=offset)
        return models.answer(kind, answer)

    def parameter(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [parameter("served", Serving), parameter("name", Name)]
    if operation.body is not None:
        parameters.append(parameter("body", operation.body))
    else:
        for name, field in operation.args.model_fields.items():
            if name != "name":
                query = Query(description=field.description)
                annotation = Annotated[field.annotation, *field.metadata, query]  # type: ignore[name-defined]
                parameters.append(parameter(name, annotation, field.default))
    if operation.rows:
        parameters += [parameter("limit", models.Limit, 100), parameter("offset", models.Offset, 0)]
    endpoint.__name__, endpoint.__doc__ = operation.name, operation.summary
    endpoint.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    to.add_api_route(
        f"/{operation.path}",
        endpoint,
        methods=["POST" if operation.changes else "GET"],
        response_model=models.page_of(kind) if operation.rows else kind,
    )


@router.get("/sweeps", response_model=models.Page[SweepRow])
def list_sweeps(served: Serving, limit: models.Limit = 100, offset: models.Offset = 0) -> Response:
    """List the sweeps, oldest first."""
    rows, total = served.rows(limit=limit, offset=offset)
    return models.page(SweepRow, rows, total=total, offset=offset)


for question in OPERATIONS:
    if question not in (SWEEPS, FINDINGS) and not question.changes:  # those two have routes of their own
        add_route(router, question)


@router.get("/sweeps/{name}/findings", response_model=Findings)
def findings(served: Serving, name: Name) -> Response:
    """Return everything that a report is made of, for `kd-sweeps report --url` of the same version."""
    return models.answer(Findings, _without_half_looks(served.database.ask(FINDINGS, SweepArgs(name=name))))


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

    results = served.database.ask(FINDINGS, SweepArgs(name=name))
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


for order in OPERATIONS:
    if order.changes:
        add_route(steering_router, order)


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

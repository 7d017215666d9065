"""The routes: questions, logs, creating and steering sweeps, probes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cache
from importlib import metadata
from inspect import Parameter, Signature
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from storage.records import queries
from sweeps.contrib.server.metrics import Metrics
from sweeps.contrib.server.problems import LOG, RESPONSES, check_allowed, problem
from sweeps.contrib.server.state import PING_S, Name, Served, Serving
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import KD, trainer_kind
from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.operations.operation import Operation, encode
from sweeps.operations.table import FINDINGS, OPERATIONS, SWEEPS, SweepArgs
from sweeps.query.listing import SweepRow
from sweeps.report import folder
from sweeps.report.page import report as markdown
from sweeps.spec import stored
from sweeps.spec.model import Name as Pattern
from sweeps.spec.model import parse
from sweeps.spec.tables import MOST
from sweeps.usecases.create import SpecRequest, create_sweep, preset
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
Row = TypeVar("Row")
MOST_ROWS = 10_000
_NAME = f"^{Pattern.pattern}$"
_NAMES = list(trainer_kind(KD).presets)
_PRESETS: list[Any] = [*_NAMES, None]

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows at most.")]
Offset = Annotated[int, Query(ge=0, le=MOST * 1000, description="Rows to pass over.")]


class Page(BaseModel, Generic[Row]):
    """Rows from an offset on. total: of all pages. next_offset: where the next page begins; null on the last one."""

    items: list[Row]
    total: int
    next_offset: int | None


class CreateRequest(BaseModel):
    """A sweep to be made, as `kd-sweeps create` makes it: of a preset or of a spec, with changes."""

    model_config = ConfigDict(extra="forbid")

    # Described and not checked here: our own lines say what to type instead.
    name: str = Field(max_length=200, examples=["mnist-kd"], json_schema_extra={"pattern": _NAME})
    preset: str | None = Field(default=None, max_length=100, examples=_NAMES, json_schema_extra={"enum": _PRESETS})
    spec: dict[str, Any] | None = Field(default=None, description="A whole spec, as `kd-sweeps report -f json` has it.")
    changes: dict[str, Any] = Field(
        default_factory=dict, description="Dotted keys of the spec.", examples=[{"search.trials": 50}]
    )


class CreatedSweep(BaseModel):
    """A sweep that is there now. new: whether this request made it. tasks: how many it has."""

    name: str
    new: bool
    fingerprint: str
    tasks: int


class Health(BaseModel):
    """That the service is there. version: of kd-sweeps."""

    status: str
    version: str


def answer(kind: Any, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value of a type as a JSON response: FastAPI's own would write NaN as null."""
    return Response(encode(kind, value), status, headers, "application/json")


def page_of(kind: Any) -> Any:
    return Page[kind]


def page(kind: Any, rows: list[Any], *, total: int, offset: int) -> Response:
    after = offset + len(rows)
    body = Page[kind](items=rows, total=total, next_offset=after if rows and after < total else None)
    return answer(Page[kind], body)


def add_route(to: APIRouter, operation: Operation[Any, Any]) -> None:
    """Add the route of an operation on one sweep, with everything that OpenAPI says of it."""
    kind = operation.kind

    def endpoint(served: Served, name: str, limit: int = 100, offset: int = 0, **given: Any) -> Response:
        values = given.pop("body").model_dump() if operation.body else given
        value = served.database.ask(operation, operation.args(name=name, **values))
        if operation.rows:
            return page(kind, value[offset : offset + limit], total=len(value), offset=offset)
        return answer(kind, value)

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
        parameters += [parameter("limit", Limit, 100), parameter("offset", Offset, 0)]
    endpoint.__name__, endpoint.__doc__ = operation.name, operation.summary
    endpoint.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    to.add_api_route(
        f"/{operation.path}",
        endpoint,
        methods=["POST" if operation.changes else "GET"],
        response_model=page_of(kind) if operation.rows else kind,
    )


@router.get("/sweeps", response_model=Page[SweepRow])
def list_sweeps(served: Serving, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the sweeps, oldest first."""
    rows, total = served.rows(limit=limit, offset=offset)
    return page(SweepRow, rows, total=total, offset=offset)


for question in OPERATIONS:
    if question not in (SWEEPS, FINDINGS) and not question.changes:  # those two have routes of their own
        add_route(router, question)


@router.get("/sweeps/{name}/findings", response_model=Findings)
def findings(served: Serving, name: Name) -> Response:
    """Return everything that a report is made of, for `kd-sweeps report --url` of the same version."""
    return answer(Findings, _without_half_looks(served.database.ask(FINDINGS, SweepArgs(name=name))))


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
    results = served.database.ask(FINDINGS, SweepArgs(name=name))
    wanted = form or _accepted(request.headers.get("accept", ""))
    if wanted == "html":
        with _drawing:
            return Response(
                _utf8(folder.files(results)[folder.PAGE]), media_type="text/html; charset=utf-8", headers=_LOCKED
            )
    if wanted == "markdown":
        return Response(_utf8(f"{markdown(results)}\n"), media_type="text/markdown; charset=utf-8")
    return answer(dict[str, Any], folder.json_data(results))


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
    response_model=CreatedSweep,
    status_code=201,
    responses={200: {"model": CreatedSweep, "description": "It was there already, with this spec."}},
)
def create(served: Serving, body: CreateRequest) -> Response:
    """Write a sweep with all its tasks: 201 if it is new, 200 if it is there, 409 if another spec has its name."""
    name = served.check(stored.check_name(body.name))
    if (body.preset is None) == (body.spec is None):
        raise SpecError('give either a preset, for example {"preset": "tiny"}, or a whole spec')
    base = preset(body.preset or "") if body.spec is None else parse(body.spec, origin="spec", new=True)
    spec = SpecRequest(base, body.changes).spec()
    check_allowed(spec, allow_code=served.allow_code)
    made = create_sweep(served.database.url, name, spec)
    fingerprint, tasks = made.spec.fingerprint, len(made.plan.tasks)
    created = CreatedSweep(name=name, new=made.new, fingerprint=fingerprint, tasks=tasks)
    headers = {"Location": f"/api/v1/sweeps/{name}"}
    return answer(CreatedSweep, created, 201 if made.new else 200, headers)


for order in OPERATIONS:
    if order.changes:
        add_route(steering_router, order)


probes_router = APIRouter(tags=["probes"], responses=RESPONSES)


@probes_router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Say that the process answers; it asks no database."""
    return answer(Health, Health(status="ok", version=_version()))


@probes_router.get("/readyz", response_model=Health)
def readyz(served: Serving) -> Response:
    """Say whether the database answers, too; 503 if it does not."""
    with served.database.engine() as engine:
        queries.is_sweep(engine, "")
    return answer(Health, Health(status="ready", version=_version()))


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

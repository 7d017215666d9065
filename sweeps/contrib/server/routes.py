"""The routes: queries, logs, creating and steering sweeps, probes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from importlib import metadata
from inspect import Parameter, Signature
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from storage.tables import AttemptRecord
from sweeps.contrib.server import metrics as prometheus
from sweeps.contrib.server.drawing import Form
from sweeps.contrib.server.problems import LOG, RESPONSES, check_allowed
from sweeps.contrib.server.state import PING_S, Name, Served, Serving, follower
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import KD, trainer_kind
from sweeps.findings.findings import Findings
from sweeps.operations.operation import Operation, encode
from sweeps.operations.table import FINDINGS, OPERATIONS, SWEEPS
from sweeps.query.listing import SweepRow
from sweeps.spec import stored
from sweeps.spec.model import Name as Pattern
from sweeps.spec.model import parse
from sweeps.spec.tables import MOST
from sweeps.usecases.create import SpecRequest, create_sweep, preset
from sweeps.usecases.logs import POLL_S, Followed, attempts_of

router = APIRouter(prefix="/api/v1", tags=["sweeps"], responses=RESPONSES)

_MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
}
_LOCKED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Text; with follow a stream of events: a message for each line, then `end`, or `problem`.",
        "content": {"text/plain": {"schema": {"type": "string"}}, "text/event-stream": {"schema": {"type": "string"}}},
    }
}
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
Item = TypeVar("Item")
MOST_ROWS = 10_000
_NAME = f"^{Pattern.pattern}$"
_NAMES = list(trainer_kind(KD).presets)
_PRESETS: list[Any] = [*_NAMES, None]

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Maximum number of rows.")]
Offset = Annotated[int, Query(ge=0, le=MOST * 1000, description="Rows to skip.")]


class Page(BaseModel, Generic[Item]):
    """Rows from an offset. total: of all pages. next_offset: start of the next page; null on the last one."""

    items: list[Item]
    total: int
    next_offset: int | None


class CreateRequest(BaseModel):
    """A sweep to create, as `kd-sweeps create` does: from a preset or a spec, with changes."""

    model_config = ConfigDict(extra="forbid")

    # Described, but not checked here: the messages of the spec also say what to type.
    name: str = Field(max_length=200, examples=["mnist-kd"], json_schema_extra={"pattern": _NAME})
    preset: str | None = Field(default=None, max_length=100, examples=_NAMES, json_schema_extra={"enum": _PRESETS})
    spec: dict[str, Any] | None = Field(default=None, description="A complete spec, as in `kd-sweeps report -f json`.")
    changes: dict[str, Any] = Field(
        default_factory=dict, description="Values by dotted keys of the spec.", examples=[{"search.trials": 50}]
    )


class CreatedSweep(BaseModel):
    """A sweep. new: whether this request created it. tasks: how many it has."""

    name: str
    new: bool
    fingerprint: str
    tasks: int


class Health(BaseModel):
    """The state of the service. version: of kd-sweeps."""

    status: str
    version: str


def answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")


def page_of(kind: Any) -> Any:
    return Page[kind]


def page(kind: Any, rows: Sequence[Any], *, total: int, offset: int) -> bytes:
    after = offset + len(rows)
    body = Page[kind](items=list(rows), total=total, next_offset=after if rows and after < total else None)
    return encode(Page[kind], body)


def add_route(to: APIRouter, operation: Operation[Any, Any]) -> None:
    """Add the route of an operation on one sweep, with types and descriptions for OpenAPI."""
    kind = operation.kind

    async def endpoint(served: Served, name: str, limit: int = 100, offset: int = 0, **given: Any) -> Response:
        arguments = operation.args(name=name, **(given["body"].model_dump() if operation.body else given))

        def body() -> bytes:  # encodes in its thread, since thousands of rows take a while
            value = served.database.ask(operation, arguments)
            if operation.rows:
                return page(kind, value[offset : offset + limit], total=len(value), offset=offset)
            return encode(kind, value)

        if operation.changes:
            return answer(await served.orders.ask(body))
        return answer(await served.ask((operation.name, arguments, limit, offset), body))

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
async def list_sweeps(served: Serving, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the sweeps, oldest first."""

    def listed() -> bytes:
        rows, total = served.rows(limit=limit, offset=offset)
        return page(SweepRow, rows, total=total, offset=offset)

    return answer(await served.ask(("list", limit, offset), listed))


for question in OPERATIONS:
    if question not in (SWEEPS, FINDINGS) and not question.changes:  # those two have other routes
        add_route(router, question)


@router.get("/sweeps/{name}/findings", response_model=Findings)
async def findings(served: Serving, name: Name) -> Response:
    """Return the data of a report, for `kd-sweeps report --url` of the same version."""
    return answer(await served.report(name, "findings"))


@router.get(
    "/sweeps/{name}/report",
    response_model=dict[str, Any],
    responses={200: {"content": {"text/html": {}, "text/markdown": {}}}},
)
async def report(
    request: Request,
    served: Serving,
    name: Name,
    form: Annotated[
        Literal["json", "html", "markdown"] | None,
        Query(alias="format", description="By default what Accept names, or JSON."),
    ] = None,
) -> Response:
    """Return the report: the JSON of `report -f json`, Markdown, or the page with its figures."""
    wanted = form or _accepted(request.headers.get("accept", ""))
    headers = _LOCKED if wanted == "html" else None
    return Response(await served.report(name, wanted), media_type=_MEDIA_TYPES[wanted], headers=headers)


def _accepted(accept: str) -> Form:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    forms: dict[str, Form] = {media.partition(";")[0]: form for form, media in _MEDIA_TYPES.items()}
    return next((forms[kind] for kind in kinds if kind in forms), "json")


async def _follows(
    request: Request, follow: Annotated[bool, Query(description="Stream until the attempt has ended.")] = False
) -> AsyncIterator[bool]:
    async with asynccontextmanager(follower)(request) if follow else nullcontext():
        yield follow


@router.get("/sweeps/{name}/tasks/{key:path}/log", response_class=Response, responses=_EVENTS)
async def log(
    served: Serving,
    name: Name,
    key: str,
    follow: Annotated[bool, Depends(_follows)],
    attempt: Annotated[int | None, Query(ge=1, le=MOST, description="Only this attempt.")] = None,
    lines: Annotated[int | None, Query(ge=0, le=MOST, description="Only the last lines of each attempt.")] = None,
) -> Response:
    """Return the output of a task, from any machine, and why it failed."""
    if not follow:

        def logged() -> bytes:
            text = "\n".join(served.database.log(name, key, attempt=attempt, lines=lines))
            return text.encode("utf-8", "backslashreplace")

        body = await served.ask(("log", name, key, attempt, lines), logged)
        return Response(body, media_type="text/plain; charset=utf-8")

    async def attempts() -> list[AttemptRecord]:
        return await served.ask(
            ("attempts", name, key), lambda: attempts_of(served.database.open, name, key), fresh_s=POLL_S / 2
        )

    followed = Followed(key, attempt=attempt, lines=lines)
    first = followed.added(await attempts())  # before the stream, so that an error is a problem document
    return EventSourceResponse(_events(followed, attempts, first), ping=PING_S, sep="\n")


async def _events(
    followed: Followed, attempts: Callable[[], Awaitable[list[AttemptRecord]]], first: list[str]
) -> AsyncIterator[ServerSentEvent]:
    try:
        for line in first:
            yield _line(line)
        while not followed.ended:
            await asyncio.sleep(POLL_S)
            for line in followed.added(await attempts()):
                yield _line(line)
        yield ServerSentEvent(event="end", data="", sep="\n")
    except (SweepError, KdError) as error:
        yield _problem(str(error))
    except StorageError as error:
        LOG.error("a log can no longer be followed: %s", error)
        yield _problem("the service can no longer read its database, or the sweep was deleted; see the service's log")


def _line(text: str) -> ServerSentEvent:
    return ServerSentEvent(data=text.encode("utf-8", "backslashreplace").decode(), sep="\n")


def _problem(detail: str) -> ServerSentEvent:
    return ServerSentEvent(event="problem", data=json.dumps({"detail": detail}), sep="\n")


steering_router = APIRouter(prefix="/api/v1", tags=["steering"], responses=RESPONSES)


@steering_router.post(
    "/sweeps",
    response_model=CreatedSweep,
    status_code=201,
    responses={200: {"model": CreatedSweep, "description": "It exists already, with this spec."}},
)
async def create(served: Serving, body: CreateRequest) -> Response:
    """Create a sweep: 201 if it is new, 200 if it exists with this spec, 409 if it exists with another one."""
    created = await served.orders.ask(lambda: _created(served, body))
    headers = {"Location": f"/api/v1/sweeps/{created.name}"}
    return answer(encode(CreatedSweep, created), 201 if created.new else 200, headers)


def _created(served: Served, body: CreateRequest) -> CreatedSweep:
    name = served.check(stored.check_name(body.name))
    if (body.preset is None) == (body.spec is None):
        raise SpecError('give either a preset, for example {"preset": "tiny"}, or a complete spec')
    base = preset(body.preset or "") if body.spec is None else parse(body.spec, origin="spec", new=True)
    spec = SpecRequest(base, body.changes).spec()
    check_allowed(spec, allow_code=served.allow_code)
    created = create_sweep(served.database.url, name, spec)
    return CreatedSweep(name=name, new=created.new, fingerprint=created.spec.fingerprint, tasks=len(created.plan.tasks))


for order in OPERATIONS:
    if order.changes:
        add_route(steering_router, order)


probes_router = APIRouter(tags=["probes"], responses=RESPONSES)


@probes_router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Report that the process answers, without the database."""
    return answer(encode(Health, Health(status="ok", version=_version())))


@probes_router.get("/readyz", response_model=Health)
async def readyz(served: Serving) -> Response:
    """Report whether the database answers; 503 if it does not."""
    await served.check_database()
    return answer(encode(Health, Health(status="ready", version=_version())))


@probes_router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(served: Serving) -> Response:
    """Return tasks, workers, seconds, retries, lost leases and best scores, for Prometheus."""
    body = await served.ask("metrics", lambda: prometheus.text(served), fresh_s=prometheus.CACHE_TTL_S)
    return Response(body, media_type=_TEXT)


@cache
def _version() -> str:
    try:
        return metadata.version("kd-sweeps")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "unknown"

"""The routes of workers on other machines, for the role worker alone."""

import asyncio
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from storage.errors import StorageError, StorageFull, SweepNotFound
from sweeps.contrib.server import work
from sweeps.contrib.server.problems import RESPONSES, problem
from sweeps.contrib.server.queues import Queue, Queues
from sweeps.contrib.server.routes import answer
from sweeps.contrib.server.shared import Places
from sweeps.contrib.server.state import Name
from sweeps.errors import SweepError
from sweeps.hints import explain
from sweeps.operations.operation import A, encode

router = APIRouter(prefix=work.PREFIX.rstrip("/"), tags=["workers"], responses=RESPONSES)

T = TypeVar("T")
_THREADS = 8
_MOST_UPLOADS = 4  # at once, since each is held in memory

Identity = Annotated[str, InPath(description="Of the sweep, as it was opened.", max_length=64)]
Digest = Annotated[str, InPath(description="SHA-256 of the bytes.", pattern="^[0-9a-f]{64}$")]


class Desk:
    """The queues of a service, and the threads and uploads that requests of workers may use."""

    def __init__(self, queues: Queues) -> None:
        self.queues = queues
        # Separate threads, so that slow pages delay no lease.
        self.places, self.uploads = Places(_THREADS), asyncio.Semaphore(_MOST_UPLOADS)

    async def run(self, name: str, function: Callable[[], T]) -> T | Response:
        """Call a function in a thread. Errors in `work.ERRORS` become a problem with their name in a header."""

        def run() -> T | Response:
            try:
                return function()
            except StorageError as error:
                kind = type(error).__name__
                if kind not in work.ERRORS:
                    raise
                status, text = 409, explain(error)
                # The texts of the next two name the database.
                if isinstance(error, SweepNotFound):
                    status, text = 404, f"this service has no such sweep {name!r}"
                elif isinstance(error, StorageFull):
                    status, text = 503, "the disk below the database of the service is full; free space there"
                return problem(status, text, headers={work.ERROR_HEADER: kind})

        return await self.places.ask(run)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


@router.get("/{name}", response_model=work.Opened)
async def open_sweep(request: Request, name: Name) -> Response:
    """Return a sweep for a worker: its spec, and the identity for further requests."""
    desk = _desk(request)

    def opened() -> Response:
        sweep = work.Sweep(**vars(desk.queues.open(name)))
        return answer(encode(work.Opened, work.Opened(work.VERSION, sweep)))

    return await desk.run(name, opened)


@router.get(
    "/{name}/{identity}/blobs/{digest}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def get_blob(request: Request, name: Name, identity: Identity, digest: Digest) -> Response:
    """Return bytes that a task stored, by their SHA-256."""
    desk = _desk(request)
    return await desk.run(
        name,
        lambda: Response(desk.queues.of(name, identity).get(digest), media_type="application/octet-stream"),
    )


@router.put(
    "/{name}/{identity}/blobs/{digest}",
    status_code=204,
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def put_blob(
    request: Request, name: Name, identity: Identity, digest: Digest, given: Annotated[work.AttemptArgs, Query()]
) -> Response:
    """Store bytes of a running attempt under their SHA-256."""
    desk, args = _desk(request), work.BlobArgs(**given.model_dump(), digest=digest)

    def known() -> bool:
        return desk.queues.of(name, identity).keep(args)

    def stored() -> Response:
        desk.queues.of(name, identity).put(args, body)
        return Response(status_code=204)

    async with desk.uploads:
        first = await desk.run(name, known)  # checks the attempt before a byte is read
        if isinstance(first, Response):
            return first
        try:
            async with asyncio.timeout(work.UPLOAD_S):
                body = await _body(request)
        except TimeoutError:
            return problem(408, f"the body did not arrive within {work.UPLOAD_S:g} s", headers={"Connection": "close"})
        return await desk.run(name, stored)


async def _body(request: Request) -> bytes:
    parts, size = list[bytes](), 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > work.MOST_BLOB_BYTES:
            raise SweepError(f"a file may have at most {work.MOST_BLOB_BYTES:,} bytes here")
    return b"".join(parts)


def _add(call: work.Call[A, Any]) -> None:
    """Add the route of a call: the method of `Queue` with its name, with types for OpenAPI."""
    run: Callable[[Queue, A], Any] = getattr(Queue, call.name.replace("-", "_"))

    async def endpoint(request: Request, name: str, identity: str, body: A) -> Response:
        desk = _desk(request)
        return await desk.run(name, lambda: answer(encode(call.answer, run(desk.queues.of(name, identity), body))))

    annotations = {"request": Request, "name": Name, "identity": Identity, "body": call.args}
    endpoint.__name__, endpoint.__doc__ = call.name.replace("-", "_"), run.__doc__
    endpoint.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in annotations.items()]
    )
    router.add_api_route(f"/{{name}}/{{identity}}/{call.name}", endpoint, methods=["POST"], response_model=call.answer)


for call in [value for value in vars(work).values() if isinstance(value, work.Call)]:
    _add(call)

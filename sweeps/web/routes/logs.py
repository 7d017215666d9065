"""The log of a task, from any machine: as text, or by events while it grows."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from sweeps.errors import SweepError
from sweeps.service.logs import POLL_S, Followed
from sweeps.spec.bounds import MOST
from sweeps.web.problems import LOG, RESPONSES, problem
from sweeps.web.served import Name, Serving

router = APIRouter(prefix="/api/v1", tags=["sweeps"], responses=RESPONSES)

PING_S = 15
_MOST_FOLLOWERS = 100
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Text; with follow events: a message for each line, then `end`, or `problem`.",
        "content": {"text/plain": {"schema": {"type": "string"}}, "text/event-stream": {"schema": {"type": "string"}}},
    }
}


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
        found = await run_in_threadpool(database.log, name, key, attempt=attempt, lines=lines)
        return Response("\n".join(found).encode("utf-8", "backslashreplace"), media_type="text/plain; charset=utf-8")
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

"""Orders to sweeps: POST alone, for operators."""

from fastapi import APIRouter, Response

from sweeps.places.answers import Counted, Extended, More, Retried
from sweeps.web.models import ExtendRequest, answer
from sweeps.web.problems import RESPONSES
from sweeps.web.served import Name, Serving

router = APIRouter(prefix="/api/v1", tags=["steering"], responses=RESPONSES)


@router.post("/sweeps/{name}/pause", response_model=Counted)
def pause(served: Serving, name: Name) -> Response:
    """Stop starting tasks; running tasks finish. Says how many are running."""
    return answer(Counted, Counted(tasks=served.database.pause(name)))


@router.post("/sweeps/{name}/resume", response_model=Counted)
def resume(served: Serving, name: Name) -> Response:
    """Go on after a pause or a cancel, from the same point. Says how many tasks are left."""
    return answer(Counted, Counted(tasks=served.database.resume(name)))


@router.post("/sweeps/{name}/cancel", response_model=Counted)
def cancel(served: Serving, name: Name) -> Response:
    """Stop all workers of a sweep, on every machine. Says how many tasks were taken back."""
    return answer(Counted, Counted(tasks=served.database.cancel(name)))


@router.post("/sweeps/{name}/extend", response_model=Extended)
def extend(served: Serving, name: Name, asked: ExtendRequest) -> Response:
    """Add trials, seeds or searches; with dry_run only say what that adds and which look at the test it spends."""
    more = More(trials=asked.trials, seeds=asked.seeds, searches=asked.searches)
    planned = served.database.extension(name, more)
    if not asked.dry_run:
        planned = Extended(tasks=served.database.extend(name, more), look=planned.look)
    return answer(Extended, planned)


@router.post("/sweeps/{name}/retry", response_model=Retried)
def retry(served: Serving, name: Name) -> Response:
    """Let failed tasks wait again, and those that were skipped because of them. Says which."""
    return answer(Retried, Retried(tasks=tuple(served.database.retry(name))))

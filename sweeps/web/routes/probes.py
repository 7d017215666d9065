"""What machines ask: is it there, can it work, what are its counts."""

from functools import cache
from importlib import metadata

from fastapi import APIRouter, Request, Response

from storage.records import queries
from sweeps.web.metrics import Metrics
from sweeps.web.models import Health, answer
from sweeps.web.problems import RESPONSES
from sweeps.web.served import Serving

router = APIRouter(tags=["probes"], responses=RESPONSES)

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Say that the process answers; it asks no database."""
    return answer(Health, Health(status="ok", version=_version()))


@router.get("/readyz", response_model=Health)
def readyz(served: Serving) -> Response:
    """Say whether the database answers, too; 503 if it does not."""
    with served.database.engine() as engine:
        queries.is_sweep(engine, "")
    return answer(Health, Health(status="ready", version=_version()))


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Return tasks, workers, seconds, retries, lost leases and best scores, for Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type=_TEXT)


@cache
def _version() -> str:
    try:
        return metadata.version("kd-sweeps")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"

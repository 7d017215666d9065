"""Questions about sweeps: GET alone, for every role."""

import threading
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from sweeps.analysis.findings import Findings
from sweeps.analysis.trainings import awaited
from sweeps.places.answers import AuditAnswer
from sweeps.query.listing import SweepRow, TrialRow
from sweeps.query.status import Status
from sweeps.query.workers import WorkerRow
from sweeps.web.models import BestShown, Limit, Offset, Page, answer, page
from sweeps.web.problems import RESPONSES
from sweeps.web.served import Name, Serving

router = APIRouter(prefix="/api/v1", tags=["sweeps"], responses=RESPONSES)

Stage = Annotated[str | None, Query(description="Only the tasks of this stage.", max_length=100)]
Form = Literal["json", "html", "markdown"]
_FORMS: dict[str, Form] = {"text/html": "html", "text/markdown": "markdown", "application/json": "json"}
_drawing = threading.Lock()  # a page takes seconds of a core: one at a time


@router.get("/sweeps", response_model=Page[SweepRow])
def list_sweeps(served: Serving, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the sweeps, oldest first."""
    rows, total = served.rows(limit=limit, offset=offset)
    return page(SweepRow, rows, total=total, offset=offset)


@router.get("/sweeps/{name}", response_model=Status)
def status(served: Serving, name: Name) -> Response:
    """Say where a sweep stands: tasks by stage and state, workers, the time left, what failed."""
    return answer(Status, served.database.status(name))


@router.get("/sweeps/{name}/best", response_model=BestShown)
def best(served: Serving, name: Name) -> Response:
    """Return the best temperature and alpha, and how sure they are."""
    found = served.database.best(name)
    shown = BestShown(best=found.best, said=found.said, confirmed=found.best.confirmed, paste=found.best.paste)
    return answer(BestShown, shown)


@router.get("/sweeps/{name}/trials", response_model=Page[TrialRow])
def trials(served: Serving, name: Name, stage: Stage = None, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List the tasks with their trials and results, in the order of the plan."""
    rows = served.database.trials(name, stage)
    return page(TrialRow, rows[offset : offset + limit], total=len(rows), offset=offset)


@router.get("/sweeps/{name}/workers", response_model=Page[WorkerRow])
def workers(served: Serving, name: Name, limit: Limit = 100, offset: Offset = 0) -> Response:
    """List every worker that ever worked on a sweep, oldest first."""
    rows = served.database.workers(name)
    return page(WorkerRow, rows[offset : offset + limit], total=len(rows), offset=offset)


@router.get("/sweeps/{name}/audit", response_model=AuditAnswer)
def audit(served: Serving, name: Name) -> Response:
    """Compare the plan, the tasks, their attempts and Optuna's trials: nothing lost, nothing counted twice."""
    return answer(AuditAnswer, served.database.audit(name))


@router.get("/sweeps/{name}/findings", response_model=Findings)
def findings(served: Serving, name: Name) -> Response:
    """Return everything that a report is made of, for `kd-sweeps report --url` of the same version."""
    return answer(Findings, _without_half_looks(served.database.findings(name)))


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
    from sweeps.report.folder import PAGE, files
    from sweeps.report.json_data import json_data
    from sweeps.report.page import report as markdown

    found = served.database.findings(name)
    wanted = form or _accepted(request.headers.get("accept", ""))
    if wanted == "html":
        with _drawing:
            return Response(_utf8(files(found)[PAGE]), media_type="text/html; charset=utf-8", headers=_LOCKED)
    if wanted == "markdown":
        return Response(_utf8(f"{markdown(found)}\n"), media_type="text/markdown; charset=utf-8")
    return answer(dict[str, Any], json_data(found))


_LOCKED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


def _accepted(accept: str) -> Form:
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), "json")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # as a report is written into a file


def _without_half_looks(found: Findings) -> Findings:
    """Leave out what the test says of a dataset whose look is not complete, as every page does."""
    hidden = {role for role in found.spec.roles if awaited(found.trainings, role)}
    trainings = tuple(
        replace(one, outcome=one.outcome.model_copy(update={"test_accuracy": None}))
        if one.role in hidden and one.outcome is not None
        else one
        for one in found.trainings
    )
    return replace(found, trainings=trainings)

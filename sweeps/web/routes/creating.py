"""Make a sweep over HTTP: the same request again changes nothing."""

from fastapi import APIRouter, Response

from sweeps.errors import SpecError
from sweeps.spec.asked import Asked
from sweeps.spec.model import Spec, check_name, parse
from sweeps.spec.presets import preset
from sweeps.web.allowed_specs import check_allowed
from sweeps.web.models import CreatedSweep, CreateRequest, answer
from sweeps.web.problems import RESPONSES
from sweeps.web.served import Serving

router = APIRouter(prefix="/api/v1", tags=["steering"], responses=RESPONSES)


@router.post(
    "/sweeps",
    response_model=CreatedSweep,
    status_code=201,
    responses={200: {"model": CreatedSweep, "description": "It was there already, with this spec."}},
)
def create(served: Serving, asked: CreateRequest) -> Response:
    """Write a sweep with all its tasks: 201 if it is new, 200 if it is there, 409 if another spec has its name."""
    from sweeps.service.create import create_sweep

    name = served.check(check_name(asked.name))
    spec = _base(asked)
    spec = Asked(spec, asked.changes).spec()
    check_allowed(spec, allow_code=served.allow_code)
    made = create_sweep(served.database.url, name, spec)
    shown = CreatedSweep(name=name, new=made.new, fingerprint=made.spec.fingerprint, tasks=len(made.plan.tasks))
    headers = {"Location": f"/api/v1/sweeps/{name}"}
    return answer(CreatedSweep, shown, 201 if made.new else 200, headers)


def _base(asked: CreateRequest) -> Spec:
    if (asked.preset is None) == (asked.spec is None):
        raise SpecError('give either a preset, for example {"preset": "tiny"}, or a whole spec')
    return preset(asked.preset or "") if asked.spec is None else parse(asked.spec, origin="spec", new=True)

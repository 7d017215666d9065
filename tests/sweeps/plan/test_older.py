"""sweeps.plan.older: what older versions planned is planned again from their specs, to the last key, need and seed."""

import hashlib
import json
from typing import Any

import pytest

from sweeps.plan.older import as_then
from sweeps.plan.tasks import Plan, make_plan
from sweeps.spec.model import parse
from tests.support.old_storages import DATA

PLANS = json.loads((DATA / "plans.json").read_text())


@pytest.mark.parametrize("number", range(len(PLANS)))
def test_a_stored_spec_gives_the_plan_of_the_version_that_stored_it(number: int) -> None:
    """Whatever changes a plan from here on has to be a key of the spec, which these do not have."""
    made = PLANS[number]
    spec = parse(made["spec"], origin=made["commit"])
    plan = as_then(make_plan(spec), spec, made["spec"])
    assert len(plan.tasks) == made["tasks"]
    assert digest(plan) == made["plan"]


def digest(plan: Plan) -> str:
    """The hash of a plan but for its priorities, as `tests/data/README.md` says."""
    phases, tasks = [], {}
    for phase in plan.phases:
        needs = [need.stored() for need in phase.needs] + ([phase.lag.stored()] if phase.lag else [])
        phases.append([phase.name, phase.stage, needs, phase.minimum])
    for task in plan.tasks:
        tasks.setdefault(task.phase, []).append([task.key, _rounded(dict(task.payload))])
    return hashlib.sha256(json.dumps([phases, tasks], sort_keys=True).encode()).hexdigest()[:16]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return f"{value:.12g}" if isinstance(value, float) else value

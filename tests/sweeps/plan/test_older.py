"""sweeps.plan.audit: what older versions planned is planned again from their specs, to the last key, need and seed."""

import hashlib
import json
from typing import Any

import pytest

from sweeps.distill.presets import PRESETS, preset
from sweeps.plan.audit import as_then
from sweeps.plan.plan import Plan, make_plan
from sweeps.spec.model import parse
from tests.support.old_storages import DATA

PLANS = json.loads((DATA / "plans.json").read_text())
OF_PRESETS = {made["spec"]["preset"]: made for made in PLANS if "ordered" in made}


@pytest.mark.parametrize("number", range(len(PLANS)))
def test_a_stored_spec_gives_the_plan_of_the_version_that_stored_it(number: int) -> None:
    """Whatever changes a plan from here on has to be a key of the spec, which these do not have."""
    made = PLANS[number]
    spec = parse(made["spec"], origin=made["commit"])
    plan = as_then(make_plan(spec), spec, made["spec"])
    assert len(plan.tasks) == made["tasks"]
    assert digest(plan) == made["plan"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_spec_that_it_was_and_is_worked_through_in_the_same_order(name: str) -> None:
    made, spec = OF_PRESETS[name], preset(name)
    assert spec.as_dict() == made["spec"]
    assert spec.fingerprint == made["fingerprint"]
    assert ordered(make_plan(spec)) == made["ordered"]


def ordered(plan: Plan) -> str:
    """The hash of everything in a plan, in its order, as `tests/data/README.md` says."""
    phases = [
        [one.name, one.stage, [need.stored() for need in one.needs], one.minimum, one.lag and one.lag.stored()]
        for one in plan.phases
    ]
    tasks = [[task.key, task.phase, task.priority, _rounded(dict(task.payload))] for task in plan.tasks]
    return hashlib.sha256(json.dumps([phases, tasks], sort_keys=True).encode()).hexdigest()[:16]


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

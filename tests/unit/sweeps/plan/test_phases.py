"""The phases of a plan, the order of their tasks and their number; the plans of older versions."""

import hashlib
import json
import time
from collections import Counter
from typing import Any

import pytest

from storage.queue.phases import StartLag
from sweeps.distill.presets import PRESETS, preset
from sweeps.errors import SpecError
from sweeps.plan import plan
from sweeps.plan.audit import as_then
from sweeps.plan.plan import MOST_TASKS, Plan, counts, make_plan, more
from sweeps.spec.model import Spec, override, parse
from sweeps.spec.tables import MOST
from tests.support.old_storages import DATA
from tests.support.sweeps import builders
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import quadratic

ONE = override(before("quick"), {"search.trials": 20, "search.sampler": "tpe", "confirm.rounds": [[3, 3]], "outer": {}})
SEVERAL = override(ONE, {"outer.teachers": 2, "outer.searches": 2})


def test_only_proposed_trials_have_a_lag() -> None:
    def lag(**changes: object) -> object:
        plan = make_plan(override(ONE, {f"search.{key}": value for key, value in changes.items()}))
        return next(phase.lag for phase in plan.phases if phase.name == "search")

    assert lag(sampler="tpe", lag=3) == StartLag(3, first=10)
    assert lag(sampler="random", lag=3) == StartLag(3, first=0)
    assert lag(sampler="qmc") is None


def test_the_test_set_is_read_after_every_selection_of_every_group() -> None:
    needs = {phase.name: {need.stored() for need in phase.needs} for phase in make_plan(SEVERAL).phases}
    selections = {f"{phase}{tag}" for phase in ("confirm", "native:confirm") for tag in ("", "@t0s1", "@t1s0", "@t1s1")}
    transfer = {name: needed for name, needed in needs.items() if name.startswith("transfer")}
    assert len(transfer) == 2 + 3
    for name, needed in transfer.items():  # a question mark allows any end
        assert {need.removesuffix("?") for need in needed} == selections, name
    # A failed selection blocks its own group alone.
    assert {need for need in transfer["transfer:target@t1s1"] if not need.endswith("?")} == {
        "confirm@t1s1",
        "native:confirm@t1s1",
    }
    assert {need for need in transfer["transfer:source"] if not need.endswith("?")} == {"confirm"}


ORDERED = override(before("tiny"), {"search.trials": 5, "transfer.seeds": 3})


def _order() -> tuple[list[str], str | None]:
    """Return the keys in the order of their claims, and the answer hash at the end."""
    keys: list[str] = []

    def noting(claim: Any, params: Any, on_step: Any) -> Any:
        keys.append(claim.key)
        return quadratic(claim, params, on_step)

    return keys, builders.make_findings(ORDERED, noting).answer_hash


def test_the_order_of_tasks_changes_neither_tasks_nor_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, answer = _order()
    after = plan.make_plan(ORDERED)
    monkeypatch.setattr(plan, "_SEEN_FIRST", 0)
    before = plan.make_plan(ORDERED)

    def plain(plan: plan.Plan) -> list[tuple[object, ...]]:
        return [(task.key, task.phase, task.payload) for task in plan.tasks]

    assert plain(after) == plain(before)
    assert [task.priority for task in after.tasks] != [task.priority for task in before.tasks]
    others, same = _order()
    assert sorted(others) == sorted(keys)
    assert others != keys
    assert same == answer is not None


TINY = before("tiny")
THIRD = override(TINY, {"target2": before("quick").source.model_dump(), "outer.teachers": 3, "outer.searches": 2})
FEW_ARMS = override(before("quick"), {"transfer.target_arms": ["native", "random"], "transfer.other_seeds": 2})


@pytest.mark.parametrize("spec", [*map(preset, PRESETS), THIRD, FEW_ARMS], ids=[*PRESETS, "third", "few arms"])
def test_counts_are_those_of_the_plan(spec: Spec) -> None:
    plan = make_plan(spec)
    stages = {phase.name: phase.stage for phase in plan.phases}
    planned = Counter((_counted_as(stages[task.phase], task.key), task.payload.get("role")) for task in plan.tasks)
    assert +counts(spec) == planned
    assert counts(spec).total() == len(plan.tasks) <= MOST_TASKS


def _counted_as(stage: str, key: str) -> str:
    return key.removeprefix("native.").partition("#")[0].partition("@")[0] if stage == "native" else stage


@pytest.mark.parametrize(
    "changes",
    [
        {"search.trials": MOST},
        {"outer.teachers": MOST, "outer.searches": MOST},
        {"transfer.seeds": MOST},
        {"confirm.rounds": [[8, MOST]]},
    ],
)
def test_a_plan_that_is_too_large_is_refused_at_once_with_the_factors(changes: dict[str, Any]) -> None:
    spec = override(TINY, changes)
    began = time.monotonic()
    with pytest.raises(SpecError, match=r"the plan has [\d,]+ tasks; allowed: 100,000.*outer.teachers.*transfer.seeds"):
        make_plan(spec)
    assert time.monotonic() - began < 0.1


@pytest.mark.parametrize("more_of", ["trials", "seeds", "searches"])
def test_an_extension_cannot_make_a_plan_too_large(more_of: str) -> None:
    with pytest.raises(SpecError, match=r"the plan has [\d,]+ tasks; allowed: 100,000"):
        more(TINY, **{more_of: MOST - 100})
    with pytest.raises(SpecError, match=r"got \d+; allowed: 100000 or less"):
        more(TINY, **{more_of: MOST})


PLANS = json.loads((DATA / "plans.json").read_text())
OF_PRESETS = {entry["spec"]["preset"]: entry for entry in PLANS if "ordered" in entry}  # the latest spec of each preset


@pytest.mark.parametrize("number", range(len(PLANS)))
def test_a_stored_spec_still_gives_the_plan_of_its_version(number: int) -> None:
    """These specs lack the keys that later changed plans, so their plans must stay the same."""
    entry = PLANS[number]
    spec = parse(entry["spec"], origin=entry["commit"])
    plan = as_then(make_plan(spec), spec, entry["spec"])
    assert len(plan.tasks) == entry["tasks"]
    assert digest(plan) == entry["plan"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_keeps_its_spec_and_the_order_of_its_tasks(name: str) -> None:
    entry, spec = OF_PRESETS[name], preset(name)
    assert spec.as_dict() == entry["spec"]
    assert spec.fingerprint == entry["fingerprint"]
    assert ordered(make_plan(spec)) == entry["ordered"]


def ordered(plan: Plan) -> str:
    """Hash a plan with its order, as `tests/data/README.md` says."""
    phases = [
        [
            phase.name,
            phase.stage,
            [need.stored() for need in phase.needs],
            phase.minimum,
            phase.lag and phase.lag.stored(),
        ]
        for phase in plan.phases
    ]
    tasks = [[task.key, task.phase, task.priority, _rounded(dict(task.payload))] for task in plan.tasks]
    return hashlib.sha256(json.dumps([phases, tasks], sort_keys=True).encode()).hexdigest()[:16]


def digest(plan: Plan) -> str:
    """Hash a plan without its priorities, as `tests/data/README.md` says."""
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


if __name__ == "__main__":  # as tests/data/README.md says
    LATEST = "2ff3504"
    ROWS = [entry for entry in PLANS if entry["commit"] != LATEST]
    for NAME in PRESETS:
        SPEC = preset(NAME)
        MADE = make_plan(SPEC)
        HASHES = {"plan": digest(MADE), "tasks": len(MADE.tasks), "ordered": ordered(MADE)}
        ROWS.append({"commit": LATEST, **HASHES, "fingerprint": SPEC.fingerprint, "spec": SPEC.as_dict()})
    (DATA / "plans.json").write_text("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n")

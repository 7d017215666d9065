"""Models are scored alongside other tasks, after every selection is frozen; the last task only times them."""

from typing import Any

import pytest

from sweeps.distill.presets import preset
from sweeps.plan.phases import Phase
from sweeps.plan.plan import counts, make_plan, more
from sweeps.spec.model import override

QUICK = preset("quick")


def test_scoring_needs_the_selections_and_the_kept_models_and_the_last_task_needs_every_phase() -> None:
    spec = override(QUICK, {"outer.teachers": 2})
    phases = make_plan(spec).phases
    needs = {phase.name: [need.stored() for need in phase.needs] for phase in phases if phase.stage == "measure"}
    assert list(needs) == ["measure:1", "measure"]
    selections = {
        f"{kind}{group.tag and '@'}{group.tag}?" for kind in ("confirm", "native:confirm") for group in spec.groups
    }
    teachers = {f"teachers:{role}{tag}?" for role in spec.roles for tag in ("", "@t1")}
    assert set(needs["measure:1"]) == selections | teachers | {"baselines?", "transfer:source?", "transfer:target?"}
    assert needs["measure"] == [f"{phase.name}?" for phase in phases if phase.name != "measure"]


def test_models_are_scored_before_the_comparisons_of_further_groups() -> None:
    priorities = {task.phase: task.priority for task in make_plan(QUICK).tasks}
    assert priorities["transfer:target@t0s1"] < priorities["measure:1"] < priorities["transfer:target"]


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({}, ["measure#accuracy", "measure#all"]),
        ({"target": None}, ["measure#accuracy", "measure#all"]),
        ({"transfer.rule": 1}, ["measure#all"]),
    ],
)
def test_plans_of_older_rules_have_a_single_measure_task(changes: dict[str, Any], tasks: list[str]) -> None:
    spec = override(QUICK, changes)
    plan = make_plan(spec)
    assert [task.key for task in plan.tasks if task.phase.startswith("measure")] == tasks
    assert counts(spec).total() == len(plan.tasks)
    for phase in plan.phases:
        assert (Phase.parse(phase.name).name, Phase.parse(phase.name).stage) == (phase.name, phase.stage)


def test_an_extension_measures_nothing() -> None:
    _, added = more(QUICK, searches=1)
    assert not [phase for phase in added.phases if phase.stage == "measure"]

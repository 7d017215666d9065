"""The plan: all tasks before anything runs, the same on every machine."""

from collections import Counter

import pytest

from storage.queue.plans import PhasePlan
from sweeps.distill.arms import CONTROLS, TARGET_ARMS
from sweeps.distill.presets import on
from sweeps.plan.phases import Phase
from sweeps.plan.plan import Plan, make_plan, more
from sweeps.spec.model import Spec, override
from tests.support.sweeps.presets import before

QUICK = override(
    before("quick"),
    {
        "search.trials": 20,
        "search.sampler": "tpe",
        "confirm.top": 3,
        "confirm.seeds": 3,
        "transfer.seeds": 10,
        "transfer.other_seeds": 0,
        "outer": {},  # one search
    },
)


def test_every_task_key_is_unique_and_every_phase_needs_earlier_ones() -> None:
    plan = make_plan(before("full"))
    assert max(Counter(task.key for task in plan.tasks).values()) == 1
    earlier_phases: set[str] = set()
    for phase in plan.phases:
        assert {need.phase for need in phase.needs} <= earlier_phases
        earlier_phases.add(phase.name)


@pytest.mark.parametrize("trials", [1, 2, 3, 7])
def test_the_first_half_of_a_search_is_sobol_points_and_the_rest_is_proposed(trials: int) -> None:
    spec = override(QUICK, {"search.trials": trials, "confirm.top": 1})
    search = [task for task in make_plan(spec).tasks if task.phase == "search"]
    assert len(search) == trials
    assert sum("temperature" in task.payload for task in search) == (trials + 1) // 2


def test_transfer_uses_seeds_that_neither_search_nor_confirm_saw() -> None:
    by_stage: dict[str, set[int]] = {}
    for task in make_plan(QUICK).tasks:
        by_stage.setdefault(task.phase.split(":")[0], set()).add(task.payload.get("seed"))
    assert len(by_stage["search"]) == 1, "the search compares points, not seeds"
    assert len(by_stage["confirm"]) == 3
    assert len(by_stage["transfer"]) == 10
    assert not by_stage["transfer"] & (by_stage["search"] | by_stage["confirm"] | by_stage["native"])


SEVERAL = override(QUICK, {"outer.teachers": 2, "outer.searches": 2})
CHEAPER = {"outer.trials": 6, "outer.rounds": [[4, 1], [2, 3]], "outer.seeds": 5}


def test_groups_differ_in_teacher_and_search_and_in_every_seed() -> None:
    tasks = {task.key: task.payload for task in make_plan(SEVERAL).tasks}
    tags = ["", "@t0s1", "@t1s0", "@t1s1"]
    for template in ("search{}#0", "native.search{}#0", "confirm{}#0.0"):
        seeds = {tasks[template.format(tag)]["seed"] for tag in tags}
        assert len(seeds) == 4
    assert len({tasks[f"search{tag}#0"]["temperature"] for tag in tags}) == 4
    for tag in tags:  # paired points on both datasets, as in a single search
        for point in ("temperature", "alpha"):
            assert tasks[f"search{tag}#3"][point] == tasks[f"native.search{tag}#3"][point]
        assert tasks[f"search{tag}#19"]["sampler_seed"] != tasks[f"native.search{tag}#19"]["sampler_seed"]
        assert "temperature" not in tasks[f"search{tag}#10"], "the other half is proposed"
    teachers = [tasks[f"teachers#{role}{tag}"]["seed"] for role in ("source", "target") for tag in ("", "@t1")]
    assert len(set(teachers)) == 4


def test_groups_have_different_transfer_seeds_and_the_arms_of_a_repeat_share_one() -> None:
    spec = on(override(SEVERAL, CHEAPER), targets=["cifar10", "digits-rgb"])
    seeds: dict[tuple[str, int], set[int]] = {}
    for task in make_plan(spec).tasks:
        if task.key.startswith("transfer"):
            group, repeat = task.payload.get("group", ""), task.payload["repeat"]
            seeds.setdefault((group, repeat), set()).add(task.payload["seed"])
    assert Counter(group for group, _ in seeds) == {"": 10, "t0s1": 5, "t1s0": 5, "t1s1": 5}
    assert {len(repeat_seeds) for repeat_seeds in seeds.values()} == {1}, "one seed for every dataset and arm"
    assert len(set.union(*seeds.values())) == len(seeds)


WIDE = override(on(SEVERAL, targets=["cifar10", "digits-rgb"]), {"transfer.target_arms": TARGET_ARMS + CONTROLS})


def test_an_extension_of_a_plan_with_groups_and_targets_gives_the_tasks_of_the_larger_plan() -> None:
    larger, added = more(WIDE, trials=2, seeds=3)
    whole = _by_key(make_plan(larger))
    before = {task.key for task in make_plan(WIDE).tasks}
    assert before | {task.key for task in added.tasks} == set(whole)
    assert not before & {task.key for task in added.tasks}
    seeds = [task for task in added.tasks if task.phase.startswith("transfer")]
    assert [whole[task.key] for task in seeds] == seeds
    assert sum(Phase.parse(task.phase).is_search for task in added.tasks) == 2 * 4 * 3, (
        "two trials for each of four groups on each of three datasets"
    )
    assert added.phases == ()


def test_an_extension_continues_the_numbers_of_each_further_search() -> None:
    spec = override(SEVERAL, CHEAPER | {"transfer.other_seeds": 4})
    larger, added = more(spec, trials=2, seeds=3)
    assert (larger.search.trials, larger.outer.trials) == (22, 8)
    assert (larger.transfer.seeds, larger.transfer.other_seeds, larger.outer.seeds) == (13, 7, 8)
    keys = {task.key for task in added.tasks}
    assert {f"search@t0s1#{number}" for number in (6, 7)} == {key for key in keys if key.startswith("search@t0s1")}
    assert {f"transfer@t0s1#target.native.{number}" for number in (5, 6, 7)} == {
        key for key in keys if key.startswith("transfer@t0s1#target.native")
    }
    unsaid, _ = more(SEVERAL, trials=2, seeds=3)
    assert (unsaid.outer.trials, unsaid.outer.seeds) == (0, 0), "0 still means as the first search"


@pytest.mark.parametrize("spec", [QUICK, WIDE, override(SEVERAL, CHEAPER), before("quick")])
def test_added_searches_equal_those_of_a_plan_made_with_them(spec: Spec) -> None:
    larger, added = more(spec, searches=2)
    assert larger == override(spec, {"outer.searches": spec.outer.searches + 2})
    before, whole = make_plan(spec), make_plan(larger)
    assert _by_key(before) | _by_key(Plan((), added.tasks)) == _by_key(whole), "seeds and priorities are equal"
    assert len(before.tasks) + len(added.tasks) == len(whole.tasks)
    assert len(larger.groups) == len(spec.groups) + 2 * spec.outer.teachers

    def without_needs(phases: tuple[PhasePlan, ...]) -> set[tuple[object, ...]]:
        return {(phase.name, phase.stage, phase.minimum, phase.lag) for phase in phases}

    assert without_needs(before.phases) | without_needs(added.phases) == without_needs(whole.phases)
    assert len(before.phases) + len(added.phases) == len(whole.phases)
    needs = {phase.name: {need.stored() for need in phase.needs} for phase in whole.phases}
    known = {phase.name for phase in before.phases}
    for phase in added.phases:
        added_needs = {need.stored() for need in phase.needs}
        # An added phase needs no more than in the larger plan, and all of its inputs.
        assert added_needs <= needs[phase.name]
        assert {need for need in needs[phase.name] if not need.endswith("?")} <= added_needs
        assert {need.phase for need in phase.needs} <= known, "each phase comes after those it needs"
        known.add(phase.name)


def _by_key(plan: Plan) -> dict[str, object]:
    return {task.key: task for task in plan.tasks}

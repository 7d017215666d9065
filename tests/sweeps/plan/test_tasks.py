"""The plan: the whole budget before anything runs, the same on every machine."""

from collections import Counter
from dataclasses import astuple

import pytest

from storage.queue.needs import Lag
from sweeps.plan.tasks import STAGES, is_search, make_plan, more, sobol_points
from sweeps.spec.arms import CONTROLS, TARGET_ARMS
from sweeps.spec.model import override
from sweeps.spec.presets import on, preset

QUICK = override(
    preset("quick"),
    {
        "search.trials": 20,
        "search.sampler": "tpe",
        "confirm.top": 3,
        "confirm.seeds": 3,
        "transfer.seeds": 10,
        "transfer.other_seeds": 0,
    },
)


def test_quick_plans_exactly_the_budget_of_its_preset() -> None:
    plan = make_plan(preset("quick"))
    assert {stage: plan.count(stage) for stage in STAGES} == {
        "teachers": 2,
        "search": 13,
        "baselines": 3,
        "confirm": 6 + 3 * 2 + 2 * 2,
        "native": 29,
        "transfer": 4 * 8 + 2 * 20 + 4 * 8,
        "measure": 1,
    }
    assert len(plan.tasks) == 168


def test_arms_that_decide_nothing_may_have_fewer_seeds() -> None:
    plan = make_plan(override(QUICK, {"transfer.other_seeds": 4}))
    found = Counter(task.key.rpartition(".")[0] for task in plan.tasks if task.phase.startswith("transfer"))
    assert found["transfer#target.native"] == found["transfer#target.best"] == 10
    assert {count for key, count in found.items() if key.endswith(("scratch", "random", "default-keras"))} == {4}
    assert found["transfer#source.best"] == 4
    larger, added = more(override(QUICK, {"transfer.other_seeds": 4}), seeds=3)
    assert (larger.transfer.seeds, larger.transfer.other_seeds) == (13, 7)
    assert len(added) == 3 * (4 + 6)


def test_a_round_of_confirm_needs_the_one_before_and_shares_its_new_seeds() -> None:
    plan = make_plan(override(QUICK, {"confirm.rounds": [[6, 1], [3, 2], [2, 2]]}))
    needs = {phase.name: tuple(need.stored() for need in phase.needs) for phase in plan.phases}
    assert [needs[name] for name in ("confirm:1", "confirm:2", "confirm")] == [
        ("search",),
        ("confirm:1",),
        ("confirm:2",),
    ]
    tasks = [task for task in plan.tasks if task.phase in ("confirm:1", "confirm:2", "confirm")]
    assert [task.payload["ranks"] for task in tasks[::6]] == ["search.ranks", "confirm.ranks:1", "confirm.ranks:2"]
    assert [(task.payload["rank"], task.payload["repeat"]) for task in tasks[6:]] == [
        (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (0, 4), (1, 4),
    ]  # fmt: skip
    assert len({task.payload["seed"] for task in tasks}) == 5
    assert {task.priority for task in tasks} == {70}


def test_only_what_is_proposed_has_a_lag() -> None:
    def lag(**changes: object) -> object:
        plan = make_plan(override(QUICK, {f"search.{key}": value for key, value in changes.items()}))
        return next(phase.lag for phase in plan.phases if phase.name == "search")

    assert lag(sampler="tpe", lag=3) == Lag(3, first=10)
    assert lag(sampler="random", lag=3) == Lag(3, first=0)
    assert lag(sampler="qmc") is None


def test_every_task_key_is_unique_and_every_phase_needs_earlier_ones() -> None:
    plan = make_plan(preset("full"))
    assert max(Counter(task.key for task in plan.tasks).values()) == 1
    seen: set[str] = set()
    for phase in plan.phases:
        assert {need.phase for need in phase.needs} <= seen
        seen.add(phase.name)


def test_the_same_spec_gives_the_same_plan_and_another_seed_other_points() -> None:
    assert make_plan(QUICK) == make_plan(QUICK)
    assert sobol_points(QUICK, 10) != sobol_points(override(QUICK, {"seed": 1}), 10)


def test_search_and_native_share_their_sobol_half_and_only_that() -> None:
    payloads = {task.key: task.payload for task in make_plan(QUICK).tasks}
    for i in range(10):
        ours, theirs = payloads[f"search#{i}"], payloads[f"native.search#{i}"]
        assert (ours["temperature"], ours["alpha"]) == (theirs["temperature"], theirs["alpha"])
    for i in range(10, 20):
        assert "temperature" not in payloads[f"search#{i}"]
        assert payloads[f"search#{i}"]["sampler_seed"] != payloads[f"native.search#{i}"]["sampler_seed"]


def test_sobol_points_fill_the_range_evenly_in_log_temperature() -> None:
    points = sobol_points(QUICK, 64)
    assert all(1 <= temperature <= 20 and 0 <= alpha <= 1 for temperature, alpha in map(astuple, points))
    # A Sobol sequence puts exactly half of its points into each half of every axis.
    assert sum(point.temperature < 20**0.5 for point in points) == 32
    assert sum(point.alpha < 0.5 for point in points) == 32


@pytest.mark.parametrize("trials", [1, 2, 3, 7])
def test_the_first_half_of_a_search_is_given_and_the_rest_is_asked_for(trials: int) -> None:
    spec = override(QUICK, {"search.trials": trials, "confirm.top": 1})
    search = [task for task in make_plan(spec).tasks if task.phase == "search"]
    assert len(search) == trials
    assert sum("temperature" in task.payload for task in search) == (trials + 1) // 2


def test_one_repeat_has_one_student_seed_for_all_arms_on_both_datasets() -> None:
    seeds: dict[int, set[int]] = {}
    for task in make_plan(QUICK).tasks:
        if task.key.startswith("transfer#"):
            seeds.setdefault(task.payload["repeat"], set()).add(task.payload["seed"])
    assert len(seeds) == 10
    assert all(len(found) == 1 for found in seeds.values())


def test_transfer_uses_seeds_that_neither_search_nor_confirm_saw() -> None:
    by_stage: dict[str, set[int]] = {}
    for task in make_plan(QUICK).tasks:
        by_stage.setdefault(task.phase.split(":")[0], set()).add(task.payload.get("seed"))
    assert len(by_stage["search"]) == 1, "the search compares points, not seeds"
    assert len(by_stage["confirm"]) == 3
    assert len(by_stage["transfer"]) == 10
    assert not by_stage["transfer"] & (by_stage["search"] | by_stage["confirm"] | by_stage["native"])


def test_a_row_of_payload_never_holds_what_a_later_selection_decides() -> None:
    for task in make_plan(QUICK).tasks:
        if task.phase in ("confirm", "native:confirm") or task.phase.startswith("transfer"):
            assert "temperature" not in task.payload


SEVERAL = override(QUICK, {"outer.teachers": 2, "outer.searches": 2})


def test_further_teachers_and_searches_repeat_what_depends_on_them_and_nothing_else() -> None:
    one, plan = make_plan(QUICK), make_plan(SEVERAL)
    assert {stage: plan.count(stage) for stage in STAGES} == {
        "teachers": 2 * 2,
        "search": 4 * 20,
        "baselines": one.count("baselines"),
        "confirm": 4 * 9,
        "native": 4 * 29,
        "transfer": 100 + 3 * 10 * (1 + 2),  # best on the source; best and native on the target
        "measure": 1,
    }
    assert max(Counter(task.key for task in plan.tasks).values()) == 1
    tasks = {task.key: task for task in plan.tasks}
    assert [tasks[task.key] for task in one.tasks] == list(one.tasks), "the first group is the sweep without the others"


def test_all_searches_of_a_teacher_wait_for_it_and_for_no_other_one() -> None:
    needs = {phase.name: tuple(need.stored() for need in phase.needs) for phase in make_plan(SEVERAL).phases}
    assert needs["search"] == needs["search@t0s1"] == ("teachers:source",)
    assert needs["search@t1s0"] == needs["search@t1s1"] == ("teachers:source@t1",)
    assert needs["native:search@t1s1"] == ("teachers:target@t1",)
    assert needs["transfer:target@t1s1"] == ("confirm@t1s1", "native:confirm@t1s1")
    assert {f"{name}?" for name in needs} - {"measure?"} == set(needs["measure"])


def test_groups_differ_in_teacher_and_search_and_share_the_seeds_of_transfer() -> None:
    tasks = {task.key: task.payload for task in make_plan(SEVERAL).tasks}
    groups = ["", "@t0s1", "@t1s0", "@t1s1"]
    for what in ("search{}#0", "native.search{}#0", "confirm{}#0.0"):
        seeds = {tasks[what.format(group)]["seed"] for group in groups}
        assert len(seeds) == 4
    assert len({tasks[f"search{group}#0"]["temperature"] for group in groups}) == 4
    for group in groups:  # as without an outer level: paired points on both datasets
        assert tasks[f"search{group}#3"]["alpha"] == tasks[f"native.search{group}#3"]["alpha"]
        for arm in ("best", "native"):
            assert tasks[f"transfer{group}#target.{arm}.7"]["seed"] == tasks["transfer#target.best.7"]["seed"]
    teachers = [tasks[f"teachers#{role}{tag}"]["seed"] for role in ("source", "target") for tag in ("", "@t1")]
    assert len(set(teachers)) == 4


def test_every_target_has_a_search_and_a_comparison_of_its_own() -> None:
    spec = on(QUICK, targets=["cifar10", "digits-rgb"])
    one, plan = make_plan(QUICK), make_plan(spec)
    needs = {phase.name: tuple(need.stored() for need in phase.needs) for phase in plan.phases}
    assert needs["native:search@target2"] == ("teachers:target2",)
    # No test is read before all selections are frozen; one that failed hinders its own dataset alone.
    assert needs["transfer:source"] == ("confirm", "native:confirm?", "native:confirm@target2?")
    assert needs["transfer:target2"] == ("confirm", "native:confirm?", "native:confirm@target2")
    assert plan.count("native") == 2 * 29
    assert plan.count("transfer") == 40 + 2 * 60
    assert plan.count("baselines") == one.count("baselines"), "on the first target only"
    tasks = {task.key: task for task in plan.tasks}
    assert [tasks[task.key] for task in one.tasks] == list(one.tasks)
    first, second = tasks["native.confirm#1.2"], tasks["native.confirm@target2#1.2"]
    assert (second.payload["ranks"], second.payload["role"]) == ("native.ranks@target2", "target2")
    assert second.priority == first.priority


def test_more_of_a_plan_with_groups_and_targets_is_what_a_larger_one_holds() -> None:
    spec = override(on(SEVERAL, targets=["cifar10", "digits-rgb"]), {"transfer.target_arms": TARGET_ARMS + CONTROLS})
    larger, added = more(spec, trials=2, seeds=3)
    whole = {task.key: task for task in make_plan(larger).tasks}
    before = {task.key for task in make_plan(spec).tasks}
    assert before | {task.key for task in added} == set(whole)
    assert not before & {task.key for task in added}
    seeds = [task for task in added if task.phase.startswith("transfer")]
    assert [whole[task.key] for task in seeds] == seeds
    assert sum(is_search(task.phase) for task in added) == 2 * 4 * 3, "each of four groups, on each of three datasets"

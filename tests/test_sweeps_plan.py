"""The plan: the whole budget before anything runs, the same on every machine."""

from collections import Counter

import pytest

from sweeps.plan import STAGES, make_plan, sobol_points
from sweeps.presets import preset
from sweeps.spec import override

QUICK = preset("quick")


def test_quick_plans_exactly_the_budget_of_its_preset() -> None:
    plan = make_plan(QUICK)
    assert {stage: plan.count(stage) for stage in STAGES} == {
        "teachers": 2,
        "search": 20,
        "baselines": 2,
        "confirm": 9,
        "native": 29,
        "transfer": 100,
        "measure": 1,
    }
    assert len(plan.tasks) == 163


def test_every_task_key_is_unique_and_every_phase_needs_earlier_ones() -> None:
    plan = make_plan(preset("full"))
    assert max(Counter(task.key for task in plan.tasks).values()) == 1
    seen: set[str] = set()
    for phase in plan.phases:
        assert {need.rstrip("?") for need in phase.needs} <= seen
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
    assert all(1 <= temperature <= 20 and 0 <= alpha <= 1 for temperature, alpha in points)
    # A Sobol sequence puts exactly half of its points into each half of every axis.
    assert sum(temperature < 20**0.5 for temperature, _ in points) == 32
    assert sum(alpha < 0.5 for _, alpha in points) == 32


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

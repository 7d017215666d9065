"""The recipe of an arm: candidates are trained with new seeds and ranked; the best is frozen and used."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.errors import RecordBroken
from storage.queue.phases import Dependency
from storage.records import queries
from storage.studies.space import check_params
from sweeps.distill.presets import preset
from sweeps.plan.jobs import AnyJob, RecipeTask, TransferTask
from sweeps.plan.phases import repeat_of
from sweeps.plan.plan import RECIPE_SEEDS, counts, make_plan
from sweeps.plan.points import planned_point, space_of, trial_space
from sweeps.query.listing import open_sweep, trial_rows
from sweeps.report.folder import results_csv
from sweeps.spec.model import Spec, override, parse
from sweeps.trainers.protocol import Point
from sweeps.usecases.steering import extend, retry
from sweeps.workers.runner import Outcome
from tests.support.sweeps.planted_sweeps import PLANTED, analysed, done_of, violations, work, worked
from tests.support.sweeps.quadratic_worker import changed, quadratic

ARMS = ["best", "scratch-own", "scratch", "native"]
OWN = override(PLANTED, {"transfer.target_arms": ARMS, "outer.searches": 2, "transfer.looks": 3})
BOTH = override(OWN, {"transfer.source_arms": ["best", "scratch", "scratch-own"], "target2": preset("quick").target})
WIDE = override(OWN, {"search.space": {"learning_rate": [0.001, 0.006], "epochs": [3, 12], "batch_size": [16, 32]}})
CANDIDATES = OWN.candidates("target")
BEST = 3  # the candidate planted as the best
RANKS = range(len(CANDIDATES))


def _run(job: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    outcome = quadratic(job, params, on_step)
    if not isinstance(job.work, RecipeTask):
        return outcome
    score = 0.9 if job.work.rank == BEST else 0.1 * job.work.rank
    return replace(changed(outcome, val_accuracy=score), score=score)


def _diverging(job: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    if isinstance(job.work, RecipeTask) and (job.work.rank, job.work.repeat) == (BEST, 1):
        raise ValueError("diverged")
    return _run(job, params, on_step)


def _rates(spec: Spec, role: str = "target") -> list[tuple[str, float]]:
    return [(point["schedule"], point["learning_rate"]) for point in spec.candidates(role)]


def test_the_candidates_are_the_rate_and_schedule_of_the_spec_and_near_ones() -> None:
    quick = override(preset("quick"), {"transfer.target_arms": ARMS})
    assert _rates(quick) == [
        *(("average", 0.004), ("cosine", 0.004), ("cosine", 0.006), ("cosine", 0.008)),
        *(("average", 0.002), ("average", 0.008)),
    ]
    assert _rates(quick, "source") == []
    constant = _rates(override(quick, {"training.schedule": "constant", "training.learning_rate": 0.001}))
    assert constant[0] == ("constant", 0.001)
    assert len(constant) == len(set(constant)) == 7
    high = _rates(override(quick, {"training.learning_rate": 0.8}))
    assert max(rate for _, rate in high) == 1.0
    assert len(set(high)) == len(high) == 5  # two of the candidates would coincide


def test_gains_are_counted_from_the_tuned_untreated_arm() -> None:
    assert [BOTH.untreated_arm(role) for role in BOTH.roles] == ["scratch-own"] * 3
    assert [OWN.untreated_arm(role) for role in OWN.roles] == ["scratch", "scratch-own"]
    assert WIDE.untreated_arm("target") == "scratch-own", "even if training settings are searched"
    assert "scratch-tuned" in WIDE.arms("target")
    assert OWN.counted_from("target") == "scratch", "the declared rule counts from scratch"


def test_each_dataset_has_a_recipes_phase_that_needs_nothing_and_precedes_transfer() -> None:
    plan = make_plan(BOTH)
    phases = {phase.name: phase for phase in plan.phases}
    names = [f"recipes:{role}" for role in BOTH.roles]
    assert [name for name in phases if name.startswith("recipes")] == names
    for role, name in zip(BOTH.roles, names, strict=True):
        assert phases[name].needs == ()
        needs = {Dependency(other, after_any_end=other != name) for other in names}
        assert needs <= set(phases[f"transfer:{role}"].needs)
    assert set(phases["transfer:target@t0s1"].needs) >= {Dependency("recipes:target")}
    tasks = [task for task in plan.tasks if task.phase == "recipes:target"]
    assert [task.key for task in tasks] == [
        f"recipes#target.{rank}.{repeat}" for repeat in range(RECIPE_SEEDS) for rank in RANKS
    ]
    assert repeat_of(tasks[-1].key) == RECIPE_SEEDS - 1
    seeds = {task.payload["seed"] for task in tasks}
    assert len(seeds) == RECIPE_SEEDS
    assert not seeds & {task.payload.get("seed") for task in plan.tasks if not task.phase.startswith("recipes")}
    assert counts(BOTH)["recipes", "target"] == len(tasks)
    assert counts(BOTH).total() == len(plan.tasks)


def test_a_sweep_without_a_tuned_untreated_arm_has_no_recipes_phase_and_no_key() -> None:
    plan = make_plan(PLANTED)
    assert not [phase for phase in plan.phases if phase.stage == "recipes"]
    assert not [need for phase in plan.phases for need in phase.needs if need.phase.startswith("recipes")]
    assert "recipes" not in PLANTED.as_dict()["limits"]
    assert parse(override(PLANTED, {"limits.recipes": 90}).as_dict()).limits.of("recipes", ()) == 90


@pytest.mark.parametrize("spec", [OWN, BOTH, WIDE], ids=["own", "both", "wide"])
def test_every_candidate_is_in_the_space_of_both_studies_and_other_arms_have_no_recipe(spec: Spec) -> None:
    for role in spec.roles:
        for point in spec.candidates(role):
            check_params(space_of(spec, "recipes"), point.as_dict())
            chosen = point.as_dict() | {"arm": "scratch-own", "dataset": spec.role(role).shown}
            check_params(space_of(spec, "transfer"), chosen)
    scratch = TransferTask(role="target", seed=1, arm="scratch", repeat=0)
    point = planned_point(spec, scratch)
    assert point is not None
    assert "schedule" not in point.as_dict()
    params = point.as_dict() | {"arm": "scratch", "dataset": spec.role("target").shown}
    check_params(trial_space(spec, "transfer", scratch), params)


def test_a_rank_beyond_the_candidates_is_an_error() -> None:
    task = RecipeTask(role="target", seed=1, arm="scratch-own", rank=len(CANDIDATES), repeat=0)
    with pytest.raises(RecordBroken, match=r"recipes#target\.6\.0 was edited: rank is 6; the arm has 6 candidates"):
        planned_point(OWN, task)


def test_the_candidate_with_the_best_mean_is_frozen_and_used_by_every_search(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/s.db", OWN, _run)
    with open_sweep(url, "s") as (engine, sweep):
        stored = queries.selections(engine, sweep.id)
        rows = [row for row in trial_rows(engine, sweep) if row.arm == "scratch-own"]
    assert Point.read(stored["recipes.best:target"]) == CANDIDATES[BEST]
    assert [entry["rank"] for entry in stored["recipes.best:target"]["candidates"]] == [*RANKS]
    for group in ("", "@t0s1"):
        tasks = [task for task in done_of(url, f"transfer:target{group}") if ".scratch-own." in task.key]
        assert len(tasks) == PLANTED.transfer.seeds
        assert {Point.read(task.outcome or {}) for task in tasks} == {CANDIDATES[BEST]}
    assert violations(url) == []
    chosen = [row.more for row in rows if row.stage == "transfer"]
    assert chosen == [{"learning_rate": 0.008, "schedule": "cosine"}] * 2 * PLANTED.transfer.seeds
    assert len(rows) - len(chosen) == RECIPE_SEEDS * len(CANDIDATES)


def test_results_csv_has_the_candidates_and_the_chosen_recipe(tmp_path: Path) -> None:
    head, *lines = results_csv(analysed(worked(f"sqlite:///{tmp_path}/s.db", OWN, _run))).splitlines()
    names = head.split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    tried = [row for row in rows if row["stage"] == "recipes"]
    assert len(tried) == RECIPE_SEEDS * len(CANDIDATES)
    assert {(row["schedule"], float(row["learning_rate"])) for row in tried} == set(_rates(OWN))
    assert {row["schedule"] for row in rows if row["arm"] == "scratch-own" and row["stage"] == "transfer"} == {"cosine"}
    assert {row["schedule"] for row in rows if row["arm"] != "scratch-own"} == {""}


def test_a_candidate_that_lost_a_seed_is_not_chosen(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/s.db", OWN, _diverging)
    with open_sweep(url, "s") as (engine, sweep):
        chosen = queries.selections(engine, sweep.id)["recipes.best:target"]
    assert (chosen["rank"], chosen["n"]) == (len(CANDIDATES) - 1, RECIPE_SEEDS)
    assert violations(url) == []


def test_extensions_and_a_retry_keep_the_chosen_recipe(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/s.db", OWN, _diverging)
    extend(url, "s", seeds=1, searches=1)
    work(url, _run)
    retry(url, "s")
    work(url, _run)  # the lost seed is trained, and its candidate would win now
    for group in ("", "@t0s1", "@t0s2"):
        tasks = [task for task in done_of(url, f"transfer:target{group}") if ".scratch-own." in task.key]
        assert len(tasks) == PLANTED.transfer.seeds + 1
        assert {Point.read(task.outcome or {}) for task in tasks} == {CANDIDATES[-1]}
    assert violations(url) == []

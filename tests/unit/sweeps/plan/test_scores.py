"""Models are scored alongside other tasks, after every selection is frozen; the last task only times them."""

from pathlib import Path
from typing import Any

import pytest

from storage.db.engine import open_engine
from sweeps.distill.presets import preset
from sweeps.plan import phases
from sweeps.plan.jobs import AnyJob
from sweeps.plan.phases import Phase
from sweeps.plan.plan import counts, make_plan, more
from sweeps.spec.model import Spec, override
from sweeps.usecases import steering
from sweeps.workers.runner import Outcome
from tests.support.sweeps.planted_sweeps import violations, work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of

QUICK = preset("quick")


@pytest.fixture(autouse=True)
def _newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_SCORED_ALONE", QUICK.transfer.rule)


def needs_of(spec: Spec) -> dict[str, list[str]]:
    planned = make_plan(spec).phases
    return {phase.name: [need.stored() for need in phase.needs] for phase in planned if phase.stage == "measure"}


def test_scoring_needs_the_selections_and_the_kept_models_and_the_last_task_needs_every_phase() -> None:
    spec = override(QUICK, {"outer.teachers": 2})
    needs = needs_of(spec)
    assert list(needs) == ["measure:1", "measure"]
    selections = {
        f"{kind}{group.tag and '@'}{group.tag}?" for kind in ("confirm", "native:confirm") for group in spec.groups
    }
    teachers = {f"teachers:{role}{tag}?" for role in spec.roles for tag in ("", "@t1")}
    assert set(needs["measure:1"]) == selections | teachers | {"baselines?", "transfer:source?", "transfer:target?"}
    assert needs["measure"] == [f"{phase.name}?" for phase in make_plan(spec).phases if phase.name != "measure"]


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


def test_a_retry_after_the_measurement_adds_a_measure_task(tmp_path: Path, in_memory: None) -> None:
    spec = override(SMALL, {"seed": 7})  # a plan that no other test shares
    url = created(f"sqlite:///{tmp_path}/kd-sweeps.db", spec)

    def no_network(claim: AnyJob, params: dict[str, Any], on_step: Any) -> Outcome:
        if claim.key == "baselines#mobilenet":
            raise KeyError("a mistake")
        return quadratic(claim, params, on_step)

    work(url, no_network)
    engine = open_engine(url)
    assert [task.key for task in tasks_of(engine) if task.state != "done"] == ["baselines#mobilenet"]
    assert violations(url) == []
    assert steering.retry(url, "s") == ["baselines#mobilenet"]
    work(url, quadratic)
    tasks = {task.key: task for task in tasks_of(engine)}
    assert {task.state for task in tasks.values()} == {"done"}
    assert tasks.keys() == {task.key for task in make_plan(spec).tasks} | {"measure#all.1"}
    assert violations(url) == []
    engine.dispose()

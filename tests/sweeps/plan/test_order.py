"""The order of the tasks: what people look for comes first, and nothing but the order depends on it."""

from pathlib import Path
from typing import Any

import pytest

from sweeps.distill.presets import preset
from sweeps.plan import plan
from sweeps.query.listing import open_sweep
from sweeps.query.status import fingerprints
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.trials_in_memory import trials_in_memory


def _order(tmp_path: Path, name: str = "s") -> tuple[list[str], str | None]:
    """The keys of preset tiny as one worker came to them, and the answer hash at the end."""
    keys: list[str] = []

    def noting(claim: Any, params: Any, on_step: Any) -> Any:
        keys.append(claim.key)
        return quadratic(claim, params, on_step)

    with trials_in_memory():
        url = worked(f"sqlite:///{tmp_path}/{name}.db", preset("tiny"), noting, name=name)
        with open_sweep(url, name) as (engine, sweep):
            return keys, fingerprints(engine, sweep).answer_hash


def test_a_few_trials_run_before_the_baselines_and_the_arms_of_the_question_before_the_others(tmp_path: Path) -> None:
    keys, _ = _order(tmp_path)
    assert keys[:7] == [
        *("teachers#source", "teachers#target"),
        *(f"search#{number}" for number in range(4)),
        "baselines#mobilenet",
    ]
    for role, arms in (("source", plan._FIRST_ARMS[:3]), ("target", plan._FIRST_ARMS)):
        transfer = [key for key in keys if key.startswith(f"transfer#{role}")]
        first = {f"transfer#{role}.{arm}.{repeat}" for arm in arms for repeat in range(3)}
        assert set(transfer[: len(first)]) == first
        assert len(transfer) > len(first)


def test_no_test_image_is_read_before_every_selection_is_frozen(tmp_path: Path) -> None:
    keys, _ = _order(tmp_path)
    selecting = max(number for number, key in enumerate(keys) if key.startswith(("search", "confirm", "native")))
    assert min(number for number, key in enumerate(keys) if key.startswith("transfer")) > selecting


def test_the_order_changes_no_task_and_no_bit_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, answer = _order(tmp_path)
    planned = plan.make_plan(preset("tiny"))
    monkeypatch.setattr(plan, "_SEEN_FIRST", 0)
    before = plan.make_plan(preset("tiny"))

    def plain(plan: plan.Plan) -> list[tuple[object, ...]]:
        return [(task.key, task.phase, task.payload) for task in plan.tasks]

    assert plain(planned) == plain(before)
    assert [task.priority for task in planned.tasks] != [task.priority for task in before.tasks]
    others, same = _order(tmp_path, "unordered")
    assert sorted(others) == sorted(keys)
    assert others != keys
    assert same == answer is not None

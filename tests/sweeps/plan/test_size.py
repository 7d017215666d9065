"""The size of a plan, known before the plan is made."""

import time
from typing import Any

import pytest

from sweeps.distill.presets import PRESETS, preset
from sweeps.errors import SpecError
from sweeps.plan.plan import MOST_TASKS, make_plan, more, tasks_of
from sweeps.spec.model import Spec, override
from sweeps.spec.tables import MOST

TINY = preset("tiny")
THIRD = override(TINY, {"target2": preset("quick").source.model_dump(), "outer.teachers": 3, "outer.searches": 2})
FEW_ARMS = override(preset("quick"), {"transfer.target_arms": ["native", "random"], "transfer.other_seeds": 2})


@pytest.mark.parametrize("spec", [*map(preset, PRESETS), THIRD, FEW_ARMS], ids=[*PRESETS, "third", "few arms"])
def test_the_counted_size_is_that_of_the_plan(spec: Spec) -> None:
    assert tasks_of(spec) == len(make_plan(spec).tasks) <= MOST_TASKS


@pytest.mark.parametrize(
    "changes",
    [
        {"search.trials": MOST},
        {"outer.teachers": MOST, "outer.searches": MOST},
        {"transfer.seeds": MOST},
        {"confirm.rounds": [[8, MOST]]},
    ],
)
def test_a_plan_that_is_too_large_is_refused_at_once_and_says_what_multiplies(changes: dict[str, Any]) -> None:
    spec = override(TINY, changes)
    began = time.monotonic()
    with pytest.raises(SpecError, match=r"the plan has [\d,]+ tasks; allowed: 100,000.*outer.teachers.*transfer.seeds"):
        make_plan(spec)
    assert time.monotonic() - began < 0.1


@pytest.mark.parametrize("more_of", ["trials", "seeds", "searches"])
def test_a_plan_cannot_grow_too_large_later(more_of: str) -> None:
    with pytest.raises(SpecError, match=r"the plan has [\d,]+ tasks; allowed: 100,000"):
        more(TINY, **{more_of: MOST - 100})
    with pytest.raises(SpecError, match=r"got \d+; allowed: less than or equal to 100000"):
        more(TINY, **{more_of: MOST})

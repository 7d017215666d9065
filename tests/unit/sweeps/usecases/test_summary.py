"""A plan in a few lines that fit a terminal, and in detail. The wording of each plan is a golden page."""

import math

import pytest
from scipy import stats

from storage.url import resolve
from sweeps.distill.kind import PAIRED_SD, SEARCH_SD
from sweeps.distill.presets import PRESETS, preset
from sweeps.plan.plan import expected_core_seconds, make_plan, on_two_cores
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import describe_details, describe_plan
from tests.support.sweeps.presets import before

URL = resolve("sqlite:///a.db")


def _lines(spec: Spec) -> list[str]:
    return describe_plan(spec, make_plan(spec), URL)


@pytest.mark.parametrize("name", PRESETS)
def test_a_plan_is_six_lines_that_fit_a_terminal(name: str) -> None:
    lines = _lines(preset(name))
    assert [line.split()[0] for line in lines] == ["search", "data", "models", "work", "answer", "storage"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("spec", "duration"),
    [
        (preset("tiny"), "1 minute"),
        (preset("quick"), "10 minutes"),
        (preset("full"), "96 hours"),
        (override(preset("quick"), {"search.trials": 100, "transfer.seeds": 100}), "3 hours"),
        (override(preset("tiny"), {"source.images": 100, "target.images": 100}), "1 minute"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.preset,
)
def test_the_duration_on_two_cores(spec: Spec, duration: str) -> None:
    assert on_two_cores(expected_core_seconds(spec)) == duration


def test_the_details_list_every_phase_and_task() -> None:
    spec = before("full")
    lines = describe_details(spec, make_plan(spec))
    assert "phase    transfer:target: 330 tasks" in lines
    assert any(line.startswith("transfer#target.native.29  {") for line in lines)


@pytest.mark.parametrize(
    ("changes", "level", "number", "unit"),
    [
        ({}, 0.01, 5, "searches"),
        ({"transfer.looks": 1, "transfer.rule": 1, "outer.searches": 4}, 0.05, 4, "searches"),
        ({"outer.searches": 1, "transfer.seeds": 10}, 0.01, 10, "seeds"),
        ({"outer.searches": 2, "transfer.looks": 1, "transfer.seeds": 10}, 0.01, 10, "seeds"),  # too few to count
    ],
)
def test_the_plan_states_the_distance_it_can_detect(
    changes: dict[str, int], level: float, number: int, unit: str
) -> None:
    spec = override(before("quick"), changes)
    spreads = SEARCH_SD if unit == "searches" else PAIRED_SD
    low, high, origin = spreads["cifar10", "keras-student"]
    times = (stats.t.ppf(1 - level, number - 1) + stats.t.ppf(0.8, number - 1)) / math.sqrt(number)
    distance = f"{low * times:.2g} to {high * times:.2g}"
    line = f"verdict  margin 1 point; {number} {unit} detect a distance of {distance} from it (80 % power)"
    assert line in _lines(spec)
    assert (
        f"power    planned evaluation 1 of {spec.transfer.looks} on the test set, at the {100 * level:g} % level;"
        f" sd between {unit} {low:g} to {high:g} points ({origin})"
    ) in describe_details(spec, make_plan(spec))

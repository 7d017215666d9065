"""The space of a search: T and alpha first, whole numbers where they must be, and every arm inside that of transfer."""

from collections import Counter

import optuna
import pytest

from storage.studies.sampler import Past, importances, propose
from storage.studies.space import Choice, Range, Whole, check_params
from sweeps.distill.arms import DEFAULT_POINTS
from sweeps.distill.presets import preset
from sweeps.distill.space import point_at, search_space, trained_with, untuned
from sweeps.plan.phases import groups
from sweeps.plan.plan import sobol_points
from sweeps.plan.points import space_of
from sweeps.spec.model import override

WIDE = override(
    preset("tiny"), {"search.space": {"learning_rate": [0.001, 0.01], "epochs": [3, 12], "batch_size": [16, 100]}}
)


def test_t_and_alpha_come_first_then_the_others_by_name() -> None:
    space = search_space(WIDE)
    assert list(space) == ["temperature", "alpha", "batch_size", "epochs", "learning_rate"]
    assert space["batch_size"] == Choice((16, 32, 64))  # each size is compiled: powers of two times the lowest
    assert space["epochs"] == Whole(3, 12)
    assert space["learning_rate"] == Range(0.001, 0.01, log=True)


def test_without_further_parameters_the_points_are_those_of_two_dimensions() -> None:
    assert [point.more for point in sobol_points(preset("tiny"), 4)] == [()] * 4


def test_sobol_points_fill_every_range_evenly() -> None:
    points = sobol_points(WIDE, 64)
    assert all(check_params(search_space(WIDE), point.as_dict()) is None for point in points)
    more = [dict(point.more) for point in points]
    assert sum(one["learning_rate"] < 0.001 * 10**0.5 for one in more) == 32
    sizes = Counter(one["batch_size"] for one in more)
    assert set(sizes) == {16, 32, 64}
    assert max(sizes.values()) - min(sizes.values()) <= 2
    assert {one["epochs"] for one in more} == set(range(3, 13))


@pytest.mark.parametrize(("unit", "value"), [(0.0, 3), (0.999999, 12)])
def test_whole_numbers_reach_both_ends(unit: float, value: int) -> None:
    assert Whole(3, 12).at(unit) == value


def test_every_arm_lies_in_the_space_of_transfer() -> None:
    space = {name: bounds for name, bounds in space_of(WIDE, "transfer").items() if name not in ("arm", "dataset")}
    for role in WIDE.roles:
        for point in (*DEFAULT_POINTS.values(), *sobol_points(WIDE, 8)):
            check_params(space, point.as_dict() | dict(point.more or untuned(WIDE, role)))


@pytest.mark.parametrize(
    ("arm", "names"),
    [
        (None, {"gamma", "epochs", "batch_size"}),
        ("best", {"gamma", "epochs", "batch_size"}),
        ("default-keras", {"epochs", "batch_size"}),
        ("autokeras", {"batch_size"}),  # baselines.autokeras_epochs hold for it
    ],
)
def test_an_arm_has_the_parameters_that_it_is_trained_with(arm: str | None, names: set[str]) -> None:
    assert set(trained_with({"gamma": 1.5, "epochs": 5, "batch_size": 32}, arm)) == names


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_sampler_proposes_points_of_the_space(sampler: str) -> None:
    space = search_space(WIDE)
    past = [Past(point.as_dict(), point.alpha) for point in sobol_points(WIDE, 8)]
    point = propose(space, past, sampler=sampler, seed=1)
    check_params(space, point)
    assert point == propose(space, past, sampler=sampler, seed=1)


def test_the_importance_is_that_of_the_parameter_that_was_planted(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as in a process that has opened no study
    space = search_space(WIDE)
    points = [point.as_dict() for point in sobol_points(WIDE, 32)]
    past = [Past(point, float(point["learning_rate"]) * 100 + 0.01 * float(point["alpha"])) for point in points]
    found = importances(space, past)
    assert next(iter(found)) == "learning_rate"
    assert found["learning_rate"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(space, past)
    assert capfd.readouterr() == ("", "")


def test_a_point_is_made_of_the_parts_of_each_range() -> None:
    space = search_space(WIDE)
    assert point_at(space, [0.0] * 5).as_dict() == {
        "temperature": 1.0,
        "alpha": 0.0,
        "batch_size": 16,
        "epochs": 3,
        "learning_rate": 0.001,
    }
    assert list(groups(WIDE)) == [""]

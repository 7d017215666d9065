"""Where the page draws trials, and what it says before there is an answer: from rows in memory."""

from itertools import count
from typing import Any

import pytest

from storage.records.live import TrialRecord
from sweeps.contrib.server.live.plane import COLOURS, Dot, Plane, planes
from sweeps.contrib.server.live.so_far import SoFar, so_far
from sweeps.distill.presets import preset
from sweeps.plan.phases import Phase
from sweeps.plan.points import planned_arm
from sweeps.spec.model import Spec, override, parse
from tests.examples.loss_trainer import loss_spec
from tests.support.custom.specs import values

TINY = preset("tiny")
_numbers = count(1)


def record(phase: str, score: float | None, *, state: str = "done", **params: Any) -> TrialRecord:
    """Return a task of a phase, planned after all earlier ones."""
    number = next(_numbers)
    stage = Phase.parse(phase).stage
    return TrialRecord(number, f"{phase}#{number}", stage, phase, state, score, params, "node-1-7-ab")


def trial(temperature: float, alpha: float, score: float | None, phase: str = "search", **more: Any) -> TrialRecord:
    return record(phase, score, temperature=temperature, alpha=alpha, **more)


def drawn(spec: Spec, *rows: TrialRecord) -> Plane:
    (plane,) = planes(spec, rows[::-1])  # the newest first, as they are read
    return plane


def dot_of(plane: Plane, row: TrialRecord) -> Dot:
    return next(dot for dot in plane.dots if dot.task == row.key)


def custom(space: dict[str, Any], point: dict[str, Any]) -> Spec:
    trainer = {"train": "./train.py:train", "space": space, "defaults": {"default": point}, "untreated": {}}
    return parse(values(trainer, transfer={"seeds": 2, "margin": 0.5}), new=True)


def test_a_trial_is_drawn_at_its_point_and_darker_the_better_it_is() -> None:
    worst, best, middle = trial(1.0, 0.0, 0.90), trial(20.0, 0.25, 0.98), trial(20**0.5, 1.0, 0.95)
    plane = drawn(TINY, worst, best, middle)
    places = [(round(dot.x, 6), round(dot.y, 6)) for dot in (dot_of(plane, row) for row in (worst, best, middle))]
    assert places == [(0, 100), (100, 75), (50, 0)], "log T to the right, alpha upwards"
    assert [dot_of(plane, row).look for row in (worst, middle, best)] == ["s0", "s3", f"s{COLOURS - 1}"]
    assert plane.dots[-1].task == best.key, "the best is drawn above the others"
    assert (plane.low, plane.high) == ("90.00 %", "98.00 %")
    assert [tick.label for tick in plane.x.ticks] == ["1", "2", "5", "10", "20"]
    assert [(tick.at, tick.label) for tick in plane.y.ticks] == [(0, "0"), (50, "0.5"), (100, "1")]


def test_a_trial_that_learnt_nothing_does_not_stretch_the_colour_scale() -> None:
    rows = [trial(2.0, 0.1, 0.1), *(trial(2.0, 0.1, 0.9 + number / 1000) for number in range(20))]
    assert len({dot.look for dot in drawn(TINY, *rows).dots}) == COLOURS


def test_confirmed_running_and_failed_trials_look_different_and_say_so() -> None:
    searched, failed = trial(4.0, 0.5, 0.9), trial(8.0, 0.5, None, state="failed")
    running = trial(16.0, 0.5, None, state="running")
    confirmations = [trial(4.0, 0.5, score, "confirm") for score in (0.92, 0.94)]
    plane = drawn(TINY, searched, failed, running, *confirmations)
    looks = {dot.task: dot.look.split() for dot in plane.dots}
    assert looks == {searched.key: ["s5", "confirmed"], failed.key: ["failed"], running.key: ["running"]}
    assert dot_of(plane, searched).state == "confirmed: 93.00 %, mean of 2 new seeds"
    assert dot_of(plane, running).text == f"{running.key}: T = 16, alpha = 0.5; running on node-1-7-ab"


def test_a_default_outside_of_the_search_space_is_drawn_at_its_edge() -> None:
    default = trial(40.0, 0.5, 0.93, "confirm")
    dot = dot_of(drawn(TINY, trial(4.0, 0.5, 0.9), default), default)
    assert (dot.x, dot.point, dot.look) == (100, "T = 40, alpha = 0.5", "s5 confirmed")


def test_the_dataset_that_is_searched_now_comes_first() -> None:
    rows = [trial(4.0, 0.5, 0.9), trial(4.0, 0.5, 0.4, "native:search")]
    titles = [plane.title for plane in planes(TINY, rows[::-1])]
    assert titles == ["Where the search on digits-rgb has looked", "Where the search on digits has looked"]


@pytest.mark.parametrize(
    ("space", "x", "y"),
    [
        ({"norm": {"choices": ["a", "b"]}, "depth": [1, 9], "rate": [0.0, 1.0]}, "depth", "rate"),
        ({"rate": [0.0, 1.0]}, "trial, in the order of the plan", "validation accuracy"),
        ({"norm": {"choices": ["a", "b"]}}, "trial, in the order of the plan", "validation accuracy"),
    ],
)
def test_any_training_has_a_plane_of_two_numbers_or_its_scores_in_their_order(
    space: dict[str, Any], x: str, y: str
) -> None:
    point = {"norm": "a", "depth": 5, "rate": 0.5}
    params = {name: point[name] for name in space}
    spec = custom(space, params)
    first, second = record("search", 0.5, **params), record("search", 0.7, **params)
    running = record("search", None, state="running", **params)
    plane = drawn(spec, first, second, running)
    assert (plane.x.title, plane.y.title) == (x, y)
    places = [(dot_of(plane, row).x, dot_of(plane, row).y) for row in (first, second, running)]
    if "depth" in space:
        assert places == [(50, 50)] * 3
    else:
        assert places == [pytest.approx(place) for place in ((100 / 6, 100), (50, 0), (500 / 6, 100))]


def test_the_lowest_loss_is_the_best() -> None:
    rows = [record("search", -loss, rate=0.5, decay=0.1) for loss in (0.2, 0.1)]
    plane = drawn(loss_spec(), *rows)
    assert [dot_of(plane, row).look for row in rows] == ["s0", "s5"]
    assert (plane.low, plane.high) == ("0.200", "0.100")


def known(spec: Spec, *rows: TrialRecord) -> SoFar:
    (only,) = so_far(spec, rows)
    return only


def default_point(spec: Spec) -> dict[str, Any]:
    return planned_arm(spec, "source", spec.raced).as_dict()


def test_before_anything_is_confirmed_the_best_is_partly_luck() -> None:
    assert so_far(TINY, [trial(2.0, 0.5, None, state="running")]) == ()
    best = known(TINY, trial(2.0, 0.5, 0.9), trial(4.0, 0.5, 0.95), trial(8.0, 0.5, None, state="failed"))
    assert (best.point, best.best.score, best.best.interval) == ("T = 4, alpha = 0.5", "95.00 %", "")
    assert best.best.detail == "the best of 2 single trainings: partly luck"
    assert best.others == ()


def test_the_confirmed_point_has_an_interval_and_the_default_next_to_it() -> None:
    fresh = [trial(4.0, 0.5, score, "confirm") for score in (0.93, 0.94, 0.95)]
    fewer = [trial(2.0, 0.5, 0.99, "confirm")]
    raced = [record("confirm", score, **default_point(TINY)) for score in (0.96, 0.97, 0.98)]
    best = known(TINY, trial(4.0, 0.5, 0.95), *fresh, *fewer, *raced)
    assert (best.point, best.best.score) == ("T = 4, alpha = 0.5", "94.00 %"), "fewer seeds are no advantage"
    assert best.best.interval == "95 % CI 91.52 to 96.48", "t[.975, 2] / sqrt(3) points"
    assert best.best.detail == "mean of 3 new seeds"
    assert [(other.label, other.score) for other in best.others] == [("Keras' default", "97.00 %")]


def test_with_several_searches_the_mean_is_over_searches_and_the_point_is_that_of_the_first() -> None:
    spec = override(TINY, {"outer.searches": 3})
    phases = ("confirm", "confirm@t0s1", "confirm@t0s2")
    rows = [trial(4.0 + place, 0.5, 0.93 + place / 100, phase) for place, phase in enumerate(phases)]
    rows += [record(phase, 0.9, **default_point(spec)) for phase in phases]
    untreated = [record("transfer:source", score, arm="scratch", temperature=1.0, alpha=1.0) for score in (0.8, 0.82)]
    best = known(spec, trial(4.0, 0.5, 0.95), *rows, *untreated)
    assert (best.point, best.best.score, best.best.detail) == ("T = 4, alpha = 0.5", "94.00 %", "mean of 3 searches")
    others = [(other.label, other.score, other.detail) for other in best.others]
    assert others == [
        ("Keras' default", "90.00 %", "mean of 3 searches"),
        ("No distillation", "81.00 %", "mean of 2 seeds"),
    ]


def test_the_interval_of_a_loss_is_turned_back() -> None:
    spec = loss_spec()
    rows = [record("confirm", -loss, rate=0.6, decay=0.2) for loss in (0.03, 0.04, 0.05)]
    best = known(spec, record("search", -0.03, rate=0.6, decay=0.2), *rows)
    assert (best.best.score, best.best.interval) == ("0.0400", "95 % CI 0.0152 to 0.0648")

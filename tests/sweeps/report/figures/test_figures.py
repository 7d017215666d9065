"""The figures: what they show of a sweep, what they leave out, and that they hold whatever a search looks like."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.analysis.cost import BreakEven
from sweeps.analysis.surfaces import SearchTrial, Surface
from sweeps.report.figures import plotly_figures
from sweeps.report.figures.captions import captions
from sweeps.report.figures.data import Pictures, best_so_far, pictures
from sweeps.report.figures.style import spread
from sweeps.report.figures.svg import NAMES, draw
from sweeps.spec.point import Point
from sweeps.stats.pareto import pareto_front
from tests.support.sweeps.reported_sweeps import analysed, worked

FOUR = (
    SearchTrial(Point(2, 0.2), 90, 0, True),
    SearchTrial(Point(9, 0.3), 95, 1, True),
    SearchTrial(Point(3, 0.8), 92, 2, False),
    SearchTrial(Point(8, 0.9), 91, 3, False),
)
SEARCH = Surface(
    role="source",
    dataset="a$b$.npz",
    trials=FOUR,
    best=Point(9, 0.3),
    tied=(Point(3, 0.8),),
    icc=0.9,
    optimism=1.0,
)
ALONE = Pictures(temperature=(1, 20), alpha=(0, 1), surfaces=(SEARCH,), arms=(), latency=(), training=(), break_even=())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return pictures(analysed(worked(tmp_path_factory.mktemp("finished"))))


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_figure_is_svg_with_a_panel_for_each_dataset(shown: Pictures) -> None:
    drawn = draw(shown)
    here = NAMES[:-1]  # AutoKeras did not run
    assert tuple(drawn) == tuple(captions(shown)) == here
    assert list(plotly_figures.figures(shown)) == [f"{name}-{number}" for name in here for number in (0, 1)]
    for name in ("arms", "cost-latency", "cost-training"):
        assert {"digits", "digits-rgb"} <= set(texts(drawn[name]))
    for name in ("surface", "history"):
        assert {"search on digits", "native search on digits-rgb", "trial, Sobol", "trial, TPE"} <= set(
            texts(drawn[name])
        )
    assert {"confirmed best", "tied with best", "default-keras-io", "default-keras"} <= set(texts(drawn["surface"]))
    assert {"best", "native", "scratch", "random", "class-mean"} <= set(texts(drawn["arms"]))


def test_each_method_is_labelled_once_on_each_dataset_and_no_two_labels_touch(shown: Pictures) -> None:
    svg = ElementTree.fromstring(draw(shown)["cost-training"])
    wanted = {f"{mark.method} {mark.accuracy:.1f}" for mark in shown.training}
    labels = [one for one in svg.iter("{http://www.w3.org/2000/svg}text") if "".join(one.itertext()) in wanted]
    assert len(labels) == len(shown.training)
    places = sorted((float(one.get("x", 0)), float(one.get("y", 0))) for one in labels)
    gaps = [second[1] - first[1] for first, second in pairwise(places) if first[0] == second[0]]
    assert len(gaps) == len(labels) - 2  # two panels, each with one column of labels
    assert min(gaps) >= 9  # their size, points


def test_costs_are_those_of_the_table(shown: Pictures) -> None:
    costs = {(mark.dataset, mark.method): mark.cost for mark in shown.training}
    # 2 s for each training: itself; with its teacher; with the teacher, a search of 8 and a confirm of 2 x 2.
    assert costs["digits", "scratch"] == 2
    assert costs["digits", "default-keras"] == 4
    assert costs["digits-rgb", "native"] == 2 + 2 + 2 * (8 + 4)
    assert {mark.cost for mark in shown.latency if mark.kind == "arm"} == {0.18}
    assert {mark.method for mark in shown.latency if mark.kind == "teacher"} == {"teacher"}


def test_what_has_no_data_yet_is_left_out() -> None:
    assert list(draw(ALONE)) == list(captions(ALONE)) == ["surface", "history"]
    assert list(plotly_figures.figures(ALONE)) == ["surface-0", "history-0"]
    assert draw(replace(ALONE, surfaces=())) == {}


EVEN = BreakEven(
    dataset="digits", curve=((3, 60), (40, 72)), student=70, sweep_cpu_s=16, at=(60, 60, 72, None), even_at=40
)


def test_the_curve_of_autokeras_stands_beside_the_student_and_the_cost_of_the_sweep() -> None:
    found = replace(ALONE, surfaces=(), break_even=(EVEN,))
    assert list(draw(found)) == list(captions(found)) == ["break-even"]
    assert {"0.25x", "1x", "4x", "16x", "AutoKeras, best so far"} <= set(texts(draw(found)["break-even"]))
    curve, student, costs = plotly_figures.figures(found)["break-even-0"].data
    assert (list(curve.x), list(curve.y)) == ([3, 40], [60, 72])
    assert set(student.y) == {70}
    assert list(costs.x) == [4, 16, 64, 256]


def test_the_name_of_a_dataset_is_not_read_as_mathematics() -> None:
    assert "search on a$b$.npz" in texts(draw(ALONE)["surface"])


@pytest.mark.parametrize(
    "trials",
    [
        FOUR[:1],
        FOUR[:3],
        FOUR[:1] * 5,
        [replace(trial, point=Point(4, trial.point.alpha)) for trial in FOUR],
        [replace(trial, accuracy=90) for trial in FOUR],
    ],
    ids=["one", "three", "the same", "one temperature", "one accuracy"],
)
def test_trials_without_a_surface_between_them_are_still_drawn(trials: list[SearchTrial]) -> None:
    search = replace(SEARCH, trials=tuple(trials), best=None, tied=())
    found = replace(ALONE, surfaces=(search,), temperature=(4, 4))
    assert "temperature T" in texts(draw(found)["surface"])
    assert len(plotly_figures.figures(found)) == 2


def test_the_history_keeps_the_best_so_far() -> None:
    assert best_so_far(SEARCH) == [90, 95, 95, 95]
    line = plotly_figures.figures(ALONE)["history-0"].data[0]
    assert (list(line.x), list(line.y)) == ([0, 1, 2, 3], [90, 95, 95, 95])


def test_the_front_by_hand() -> None:
    points = [(3, 90.0), (1, 80.0), (2, 79.0), (3, 91.0), (1, 80.0), (9, 91.0)]
    assert pareto_front(points) == [1, 4, 3]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(one: tuple[int, int]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in points)

    assert sorted(pareto_front(points)) == [i for i, one in enumerate(points) if not dominated(one)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_labels_keep_their_order_their_distance_and_inside(wanted: list[float]) -> None:
    gap = 1 / len(wanted)
    found = spread(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], index))
    assert all(found[b] - found[a] >= gap - 1e-9 for a, b in pairwise(order))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found)


def test_labels_with_room_stay_where_they_are_and_others_move_as_little_as_they_can() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([1.0, 1.0], 0.1) == pytest.approx([0.9, 1.0])

"""The key figure in the dashboard: one for each target, the same data, no markup of users."""

import json
from dataclasses import replace

import pytest

from sweeps.report.figures.plotly_figures import figures
from tests.support.sweeps.pictured_sweeps import gain, regret

BEST = gain("best", 5.0, 5.6, 4.7, detail="T 4, α 0.3")
GAINS = (
    BEST,
    gain("native", 6.0, 5.6, 6.4),
    gain("best", 2.0, dataset="other"),
    gain("best", 3.0, dataset="source"),
)
REGRETS = (regret(0.1, 0.3, 0.8, margin=0.5), regret(0.2, dataset="other"))
BOTH = "T and α"


def test_every_target_has_a_figure_and_their_names_sort_in_the_order_of_the_page() -> None:
    found = figures(GAINS, REGRETS, BOTH)
    assert list(found) == sorted(found) == ["answer-0", "answer-1"]
    assert [found[name].layout.title.text for name in found] == [
        "What T and α gain and lose on digits",
        "What T and α gain and lose on other",
    ]


def test_gains_stand_above_the_regret_with_every_seed_and_search() -> None:
    found = figures(GAINS, REGRETS, BOTH)["answer-0"]
    above = [trace for trace in found.data if trace.xaxis == "x"]
    below = [trace for trace in found.data if trace.xaxis == "x2"]
    label = "called best<br><sub>T 4, α 0.3</sub>"
    assert [(trace.name, list(trace.x), set(trace.y)) for trace in above] == [
        ("one seed", [5.0, 5.6, 4.7], {label}),
        ("mean, 95 % interval", [BEST.mean.mean], {label}),
        ("one seed", [6.0, 5.6, 6.4], {"called native"}),
        ("mean, 95 % interval", [pytest.approx(6.0)], {"called native"}),
    ]
    assert BEST.mean.high is not None
    assert above[1].error_x.array == (BEST.mean.high - BEST.mean.mean,)
    assert [(trace.name, list(trace.x)) for trace in below] == [
        ("one search", [0.1, 0.3, 0.8]),
        ("mean, 95 % interval", [pytest.approx(0.4)]),
    ]
    zero, margin = found.layout.shapes
    assert (zero.x0, zero.xref, margin.x0, margin.xref) == (0, "x", 0.5, "x2")
    assert found.layout.yaxis.autorange == "reversed", "the first row is the highest"


def test_one_search_and_two_seeds_have_neither_dots_nor_an_interval() -> None:
    lost_once = replace(regret(0.5, 0.7), searches=(0.6,))
    seeds, mean, lost = figures([gain("best", 5.0, 6.0)], [lost_once], BOTH)["answer-0"].data
    assert (mean.error_x.array, lost.error_x.array) == ((0.0,), (0.0,))
    assert (seeds.name, lost.name) == ("one seed", "mean, 95 % interval")


def test_without_a_regret_or_without_gains_there_is_no_figure() -> None:
    assert figures([], [], BOTH) == {}
    assert figures(GAINS, [], BOTH) == {}
    assert figures([], REGRETS, BOTH) == {}


def test_a_dataset_is_no_markup() -> None:
    evil = "<b>x</b>"
    mark = replace(gain("best", 1.0, dataset=evil), label=f"Tuned on {evil}", detail=evil)
    figure = figures([mark], [regret(0.5, dataset=evil)], BOTH)["answer-0"]
    text = json.dumps(json.loads(figure.to_json()))
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") >= 3

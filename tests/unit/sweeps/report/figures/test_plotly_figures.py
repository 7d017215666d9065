"""The key figure in the dashboard: one for each dataset of the answer, with the data of the page, markup escaped."""

import json
from dataclasses import replace

import pytest

from sweeps.report.figures.plotly_figures import figures
from tests.support.sweeps.pictured_sweeps import gain

BEST = gain("best", 5.0, 5.6, 4.7, detail="T 4, α 0.3")
GAINS = (BEST, gain("native", 6.0, 5.6, 6.4), gain("best", 2.0, dataset="other"))
BOTH = "T and α"


def test_every_dataset_has_a_figure_and_sorted_names_are_in_the_order_of_the_page() -> None:
    drawn = figures(GAINS, BOTH)
    assert list(drawn) == sorted(drawn) == ["answer-0", "answer-1"]
    titles = [drawn[name].layout.title.text for name in drawn]
    assert titles == ["What T and α gain on digits", "What T and α gain on other"]
    assert figures([], BOTH) == {}


def test_every_arm_has_its_seeds_and_its_interval() -> None:
    figure = figures(GAINS, BOTH)["answer-0"]
    label = "called best<br><sub>T 4, α 0.3</sub>"
    assert [(trace.name, list(trace.x), set(trace.y)) for trace in figure.data] == [
        ("one seed", [5.0, 5.6, 4.7], {label}),
        ("mean, 95 % CI", [BEST.mean.mean], {label}),
        ("one seed", [6.0, 5.6, 6.4], {"called native"}),
        ("mean, 95 % CI", [pytest.approx(6.0)], {"called native"}),
    ]
    assert BEST.mean.high is not None
    assert figure.data[1].error_x.array == (BEST.mean.high - BEST.mean.mean,)
    (zero,) = figure.layout.shapes
    assert zero.x0 == 0
    assert figure.layout.yaxis.autorange == "reversed", "the first row is at the top"


def test_two_seeds_have_no_interval() -> None:
    _, mean = figures([gain("best", 5.0, 6.0)], BOTH)["answer-0"].data
    assert mean.error_x.array == (0.0,)


def test_markup_in_the_name_of_a_dataset_is_escaped() -> None:
    evil = "<b>x</b>"
    mark = replace(gain("best", 1.0, dataset=evil), label=f"Tuned on {evil}", detail=evil)
    text = json.dumps(json.loads(figures([mark], BOTH)["answer-0"].to_json()))
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") >= 3

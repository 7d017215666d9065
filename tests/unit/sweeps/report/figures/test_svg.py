"""The figures of a page: every one whose data is there, the same twice, whatever a search looks like."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from sweeps.findings.findings import Findings
from sweeps.report.document import Figure
from sweeps.report.figures.style import as_svg, style
from sweeps.report.figures.svg import blocks, draw, figures_of, surface, with_data
from sweeps.report.html_page import html
from tests.support.points import at
from tests.support.sweeps.builders import found
from tests.support.sweeps.pictured_sweeps import FITTED, FOUR, PLANE, SEARCH, WITH_EVEN, figures, gain, texts
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def shown() -> Findings:
    return replace(found(REPORTED, run), own=WITH_EVEN)


@pytest.fixture(scope="module")
def drawn(shown: Findings) -> dict[str, str]:
    return draw(with_data(shown))


def test_every_figure_whose_data_is_there_is_drawn_in_the_order_of_the_page(
    shown: Findings, drawn: dict[str, str]
) -> None:
    names = tuple(figure.name for figure in figures_of(shown.spec.kind))
    assert tuple(drawn) == tuple(figure.name for figure in blocks(shown.spec, with_data(shown))) == names
    assert names == ("gains", "regret", "methods", "surface", "break-even")
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_no_figure_says_when_it_was_drawn_and_what_has_no_data_yet_is_left_out(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert "<dc:date>" not in svg
        assert not re.search(r"20\d\d-\d\d-\d\d", svg)
    assert with_data(found(REPORTED, run, until="search")) == []


def test_names_are_words_and_every_dataset_has_a_panel(drawn: dict[str, str]) -> None:
    words = {name: set(texts(svg)) for name, svg in drawn.items()}
    assert {"Tuned on digits", "Tuned on digits-rgb itself", "Random T and α", "Class means of the logits"} <= words[
        "gains"
    ]
    assert {"Tuned on digits itself", "Keras default, untuned", "keras.io example, untuned"} <= words["gains"]
    for dataset in ("digits", "digits-rgb"):
        assert f"points of test accuracy gained on {dataset}" in words["gains"]
        assert f"Search on {dataset}" in words["surface"]
    assert "points lost on digits-rgb by not tuning there" in words["regret"]
    methods = {"Student, distilled", "Student, labels only", "Its teacher", "cnn-small-narrow", "mobilenet"}
    assert methods <= words["methods"]
    legend = {"trial, Sobol", "trial, proposed", "confirmed best", "tied with best"}
    assert legend | {"keras.io example", "Keras default"} <= words["surface"]
    assert {"0.25x", "1x", "4x", "16x", "AutoKeras, best so far", "distilled student"} <= words["break-even"]
    keys = {"best", "native", "scratch", "default-keras", "default-keras-io", "class-mean", "random"}
    assert not keys & set.union(*words.values())


def test_text_stays_text_and_a_file_has_one_white_background_that_a_dark_page_leaves_out(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert len(texts(svg)) > 3
        white = re.findall(r'<g id="(\w+)">\s*<path[^>]*style="fill: #ffffff', svg)
        assert white == ["patch_1"]
    page = html([Figure("gains", "alt", "caption")], title="t", figures={"gains": drawn["gains"]})
    assert 'id="gains-patch_1"' in page
    assert 'figure svg g[id$="-patch_1"] > path { fill: none !important; }' in page


def test_without_enough_searches_there_are_points_alone() -> None:
    plain, fitted = (surface(replace(PLANE, surfaces=(one,))) for one in (SEARCH, replace(SEARCH, top=FITTED)))
    assert len(plain.axes) == 1
    assert len(plain.axes[0].collections) == 0, "contours through single runs would show their luck"
    axes, scale = fitted.axes
    assert len(axes.collections) > 0
    assert scale.get_ylabel() == "points above the mean of all runs"


def test_the_fitted_surface_is_the_right_way_round() -> None:
    (contours,) = surface(replace(PLANE, surfaces=(replace(SEARCH, top=FITTED),))).axes[0].collections
    temperatures = sorted({round(float(x), 6) for path in contours.get_paths() for x, _ in path.vertices})
    alphas = sorted({round(float(y), 6) for path in contours.get_paths() for _, y in path.vertices})
    assert (temperatures[0], temperatures[-1]) == pytest.approx((20 ** (1 / 32), 20 ** (31 / 32)), abs=1e-5)
    assert (alphas[0], alphas[-1]) == pytest.approx((1 / 32, 31 / 32), abs=1e-5)
    # the highest level lies around the top of FITTED: x = 8 of 16, y = 4 of 16
    top = contours.get_paths()[-1].vertices
    assert top[:, 0].mean() == pytest.approx(20 ** (8.5 / 16), rel=0.2)
    assert top[:, 1].mean() == pytest.approx(4.5 / 16, abs=0.05)


def test_trials_of_other_searches_are_drawn_of_a_sweep_that_has_some() -> None:
    figure = surface(replace(PLANE, surfaces=(replace(SEARCH, others=FOUR),)))
    others = [line for line in figure.axes[0].lines if line.get_label() == "trial of another search"]
    assert [len(line.get_xdata()) for line in others] == [4]
    (legend,) = figure.legends
    assert "trial of another search" in [text.get_text() for text in legend.get_texts()]


def test_the_name_of_a_dataset_is_not_read_as_mathematics_or_markup() -> None:
    evil = replace(SEARCH, dataset="<script>&x.npz")
    made = draw(figures(surface=replace(PLANE, surfaces=(SEARCH, evil)), gains=(gain("best", 1.0, dataset="<b>"),)))
    assert list(made) == ["gains", "surface"]
    assert {"Search on a$b$.npz", "Search on <script>&x.npz"} <= set(texts(made["surface"]))
    assert "<script>" not in made["surface"]
    assert "<b>" not in made["gains"]


def test_trials_without_a_surface_between_them_are_still_drawn() -> None:
    few = (FOUR[:1], FOUR[:1] * 5, [replace(trial, point=at(4, trial.point["alpha"])) for trial in FOUR])
    searches = tuple(replace(SEARCH, trials=tuple(trials), best=None, tied=()) for trials in few)
    temperature, alpha = PLANE.axes
    figure = surface(replace(PLANE, surfaces=searches, axes=(replace(temperature, low=4, high=4), alpha)))
    with style():
        written = texts(as_svg(figure))
    assert "temperature T" in written
    assert "tied with best" not in written
    for axes, trials in zip(figure.axes, few, strict=True):
        trial_marks = [line for line in axes.lines if str(line.get_label()).startswith("trial")]
        assert sum(len(line.get_xdata()) for line in trial_marks) == len(trials)

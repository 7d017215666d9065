"""The drawings of the surfaces: complete, correctly oriented, under a heading that follows from the fits."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Annotation

from sweeps.findings.surfaces import Surface
from sweeps.report.figures.data import Plane
from sweeps.report.figures.style import as_svg, style
from sweeps.report.figures.surface import heading, surface
from sweeps.stats.top import SIDE, Top
from tests.support.points import at
from tests.support.sweeps.pictured_sweeps import FITTED, FOUR, PLANE, SEARCH, texts

OTHER = replace(SEARCH, role="target", dataset="cifar10", best=at(4, 0.5))


def both(first: Top | None, second: Top | None) -> Plane:
    return replace(PLANE, surfaces=(replace(SEARCH, top=first), replace(OTHER, top=second)))


def fitted(share: float, x: int) -> Top:
    """Return a fit with its top around that column of the grid."""
    mean = tuple(tuple(-((column - x) ** 2) / 4 for _ in range(SIDE)) for column in range(SIDE))
    return replace(FITTED, share=share, mean=mean)


def written(plane: Plane) -> list[str]:
    with style():
        return texts(as_svg(surface(plane)))


def test_the_fitted_surface_is_correctly_oriented_and_reaches_the_ends_of_the_axes() -> None:
    axes = surface(replace(PLANE, surfaces=(replace(SEARCH, top=FITTED),))).axes[0]
    (contours,) = axes.collections
    vertices = np.concatenate([path.vertices for path in contours.get_paths()])
    assert (vertices.min(axis=0), vertices.max(axis=0)) == (pytest.approx([1, 0]), pytest.approx([20, 1]))
    assert (axes.get_xlim(), axes.get_ylim()) == (pytest.approx((1, 20)), pytest.approx((0, 1)))
    # the highest level is around the top of FITTED: x = 8 of 16, y = 4 of 16
    top = contours.get_paths()[-1].vertices
    assert top[:, 0].mean() == pytest.approx(20 ** (8.5 / 16), rel=0.2)
    assert top[:, 1].mean() == pytest.approx(4.5 / 16, abs=0.05)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (fitted(0.3, 8), fitted(0.2, 8), "The good region is wide, and lies in nearly the same place on both datasets"),
        (fitted(0.03, 8), fitted(0.02, 8), "The good region is small, and lies in nearly the same place on both"),
        (fitted(0.3, 2), fitted(0.2, 13), "The good region is wide, and lies elsewhere on each dataset"),
        (fitted(0.3, 8), fitted(0.2, 10), "The good region is wide, and overlaps in part"),
        (fitted(0.3, 8), fitted(0.02, 8), "The good region is wide on one dataset, small on another, and lies in"),
        (fitted(0.3, 8), replace(fitted(0.3, 8), high=0.9), "Where the searches looked"),  # its interval is too wide
        (FITTED, None, "Where the searches looked"),
        (None, None, "Where the searches looked"),
    ],
)
def test_the_heading_follows_from_the_fits(first: Top | None, second: Top | None, text: str) -> None:
    assert heading(both(first, second)).startswith(text)


def test_the_heading_for_one_dataset_compares_no_places() -> None:
    assert heading(replace(PLANE, surfaces=(replace(SEARCH, top=fitted(0.3, 8)),))) == "The good region is wide"


def test_a_point_with_several_names_has_one_mark() -> None:
    plane = replace(PLANE, surfaces=(SEARCH, replace(OTHER, best=SEARCH.best)))
    assert "tuned on a$b$.npz and CIFAR-10" in written(plane)
    at_default = replace(PLANE, surfaces=(replace(SEARCH, best=at(3, 0.5)),))
    assert "Keras default, tuned on a$b$.npz" in written(at_default)


@pytest.mark.parametrize(("x", "y"), [(3.2, 0.51), (4.52, 0.63), (5.86, 0.41), (19, 0.5)])
def test_labels_of_near_points_cover_neither_each_other_nor_a_point(x: float, y: float) -> None:
    near = replace(PLANE, surfaces=(replace(SEARCH, best=at(2.1, 0.58)), replace(OTHER, best=at(x, y))))
    figure = surface(near)
    figure.draw_without_rendering()
    axes = figure.axes[1]
    labels = [text.get_window_extent() for text in axes.texts]
    assert len(labels) == 4
    assert not any(first.overlaps(second) for i, first in enumerate(labels) for second in labels[:i])
    points = [axes.transData.transform(text.xy) for text in axes.texts if isinstance(text, Annotation)]
    assert not any(label.contains(*point) for label in labels for point in points)


def test_trials_are_drawn_even_without_a_surface() -> None:
    few = (FOUR[:1], FOUR[:1] * 5, [replace(trial, point=at(4, trial.point["alpha"])) for trial in FOUR])
    searches: tuple[Surface, ...] = tuple(replace(SEARCH, trials=tuple(trials), best=None) for trials in few)
    temperature, alpha = PLANE.axes
    plane = replace(PLANE, surfaces=searches, axes=(replace(temperature, low=4, high=4), alpha))
    assert "temperature T" in written(plane)
    figure = surface(plane)
    for axes, trials in zip(figure.axes, few, strict=True):
        trial_marks = [line for line in axes.lines if str(line.get_label()).startswith("trial")]
        assert sum(len(line.get_xdata()) for line in trial_marks) == len(trials)

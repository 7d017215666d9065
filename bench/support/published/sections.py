"""The sections of keras.io's example and of Hinton et al. 2015 on the page of bench/published.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from support.page import table
from support.published.records import Lines, Result
from support.published.scores import RAISED_BY
from support.published.shown import (
    BySeed,
    Measure,
    Printed,
    agreeing,
    by_seed,
    contrast,
    difference,
    errors,
    mean,
    median_seconds,
    percent,
    verdict,
)
from support.published.trainings import HINTON_T, TEMPERATURES, Size, Training, trainings_of

LOW, MIDDLE, HIGH = (1.0, 1.5, 2.0), (2.5, 3.0, 4.0), (8.0, 12.0, 20.0, 40.0)
ABOVE_8 = (12.0, 20.0, 40.0)


@dataclass(frozen=True)
class Section:
    """What one row says.

    Attributes:
        title: of the section.
        body: tables and what they mean, Markdown.
        printed: figures of the paper beside ours.
        claims: what the paper says in words and what is found here, a line each.
        differs: what is not as in the paper.
    """

    title: str
    body: str
    printed: Sequence[Printed]
    claims: Sequence[str]
    differs: str


def keras_io(lines: Lines, size: Size) -> Section:
    """Make the section of keras.io's example."""
    rows = trainings_of("keras-io", size)
    names = {
        "teacher": "teacher, 5 epochs",
        "scratch": "student from scratch, 3 epochs",
        "distilled": "student distilled at T = 10, alpha = 0.1, 3 epochs",
        "without T^2": "the same without the factor T^2",
    }
    arms = {arm: [one for one in rows if one.arm == arm] for arm in names}
    figures = {"teacher": 97.6, "scratch": 97.6, "distilled": 98.1, "without T^2": 98.1}
    found = {arm: by_seed(lines, some, percent) for arm, some in arms.items()}
    gain, without = (difference(found[arm], found["scratch"], 2) for arm in ("distilled", "without T^2"))
    heads = ("network", "test accuracy, %", "printed", "agrees with its teacher", "CPU s each")
    body = [
        table(
            heads,
            [
                (names[arm], mean(found[arm], 2), figures[arm], agreeing(lines, some), median_seconds(lines, some))
                for arm, some in arms.items()
            ],
        ),
        f"Distilled less from scratch, paired by seed: {gain} points, without the factor T^2 {without}; printed 0.5.",
    ]
    printed = [Printed(f"keras.io, {names[arm]}", figures[arm], found[arm], "%") for arm in arms]
    claims = []
    for arm, loss in (("distilled", "with the page's loss"), ("without T^2", "without its factor T^2")):
        said = verdict(found[arm], found["scratch"], below="the opposite", above="holds", of=("points", 2))
        claims.append(f'keras.io, "a performance boost" over the same student from scratch, {loss}: {said}.')
    return Section("keras.io's example", "\n\n".join(body), printed, claims, _KERAS_IO)


def hinton_errors(lines: Lines, size: Size) -> Section:
    """Make the section of the errors of section 3."""
    rows = trainings_of("hinton-errors", size)
    arms = {arm: [one for one in rows if one.arm == arm] for arm in ("teacher", "scratch", "distilled")}
    names = {
        "teacher": "teacher, 2 x 1200, dropout, jitter",
        "scratch": "student, 2 x 800, labels alone",
        "distilled": "student, 2 x 800, distilled at T = 20",
    }
    figures = {"teacher": 67, "scratch": 146, "distilled": 74}
    found = {arm: by_seed(lines, some) for arm, some in arms.items()}
    heads = ("network", "test errors of 10,000", "printed", "agrees with its teacher", "CPU s each")
    cells = [
        (names[arm], mean(found[arm]), figures[arm], agreeing(lines, some), median_seconds(lines, some))
        for arm, some in arms.items()
    ]
    gain = difference(found["distilled"], found["scratch"])
    body = f"{table(heads, cells)}\n\nDistilled less labels alone, paired by seed: {gain} errors; printed -72."
    found_gain = verdict(found["distilled"], found["scratch"], below="holds", above="the opposite")
    claim = f"Hinton, the distilled student makes fewer errors than that of labels alone: {found_gain}."
    printed = [Printed(f"Hinton, {names[arm]}", figures[arm], found[arm], "errors") for arm in arms]
    return Section("Hinton et al. 2015: errors on MNIST", body, printed, [claim], _HINTON)


def no_threes(lines: Lines, size: Size) -> Section:
    """Make the section of the transfer set without 3s."""
    rows = trainings_of("no-threes", size)
    measures: Sequence[tuple[str, Measure, Measure, str]] = (
        ("as trained", errors, lambda one: one.threes, "206 (133)"),
        (f"raised by {RAISED_BY}", _raised("raised_errors"), _raised("raised_threes"), "109 (14)"),
        ("raised by what is best on the test images", _raised("best_errors"), _raised("best_threes"), "109 (14)"),
    )
    cells, printed = [], []
    for arm in ("soft targets alone", "with labels"):
        some = [one for one in rows if one.arm == arm]
        for name, of_all, of_threes, figure in measures:
            counted, threes = by_seed(lines, some, of_all), by_seed(lines, some, of_threes)
            cells.append((arm, name, mean(counted), mean(threes), figure, agreeing(lines, some)))
            first, second = figure.rstrip(")").split(" (")
            printed += [
                Printed(f"Hinton without 3s, {arm}, bias {name}", float(first), counted, "errors"),
                Printed(f"Hinton without 3s, {arm}, bias {name}, on the 1,010 threes", float(second), threes, "errors"),
            ]
    biases = [
        f"{arm} {mean(by_seed(lines, [one for one in rows if one.arm == arm], _raised('best_bias')), 2)}"
        for arm in ("soft targets alone", "with labels")
    ]
    heads = (
        "student",
        "bias of class 3",
        "test errors",
        "of them on the 1,010 threes",
        "printed",
        "agrees, as trained",
    )
    body = f"{table(heads, cells)}\n\nThe best raise on the test images: {'; '.join(biases)}; printed 3.5."
    return Section("Hinton et al. 2015: a transfer set without 3s", body, printed, [], _NO_THREES)


def hinton_units(lines: Lines, size: Size) -> Section:
    """Make the section of the temperatures by units per layer."""
    rows = trainings_of("hinton-units", size)
    tables, claims = [], []
    for units in size.unit_seeds:
        cells: dict[float, list[Training]] = {
            temperature: [
                one for one in rows if (one.network, one.temperature) == (f"mlp-{units}", temperature) and one.teacher
            ]
            for temperature in TEMPERATURES
        }
        groups: dict[float, BySeed] = {key: by_seed(lines, some) for key, some in cells.items()}
        against = groups[HINTON_T]
        tables.append(f"### {units} units per layer")
        tables.append(
            table(
                ("T", "test errors", "less those at T = 20, paired", "agrees with its teacher"),
                [
                    (f"{key:g}", mean(groups[key]), difference(groups[key], against), agreeing(lines, some))
                    for key, some in cells.items()
                ],
            )
        )
        claims += _of_30(groups) if units == 30 else _of_many(units, groups)
    return Section("Hinton et al. 2015: temperature and size", "\n\n".join(tables), [], claims, _UNITS)


def _of_30(groups: dict[float, BySeed]) -> list[str]:
    said = []
    for name, others in (("higher (8 to 40)", HIGH), ("lower (1 to 2)", LOW)):
        pair = contrast(groups, MIDDLE, others)
        said.append(
            f'Hinton, with 30 units T from 2.5 to 4 "worked significantly better" than {name}:'
            f" {verdict(*pair, below='holds', above='the opposite')}, of means over T."
        )
    return said


def _of_many(units: int, groups: dict[float, BySeed]) -> list[str]:
    means = {key: sum(values.values()) / len(values) for key, values in groups.items() if values}
    above = {key: means[key] for key in ABOVE_8 if key in means}
    if len(above) < len(ABOVE_8):
        return [f"Hinton, with {units} units all T above 8 gave fairly similar results: not trained yet."]
    best, worst = min(above, key=lambda key: above[key]), max(above, key=lambda key: above[key])
    return [
        f'Hinton, with {units} units all T above 8 gave "fairly similar results" (no figure is given): means of'
        f" {above[best]:.1f} (T = {best:g}) to {above[worst]:.1f} errors (T = {worst:g}), over all ten temperatures"
        f" {min(means.values()):.1f} to {max(means.values()):.1f};"
        f" T = {worst:g} less T = {best:g} is {difference(groups[worst], groups[best])}."
    ]


def _raised(name: str) -> Measure:
    def measure(result: Result) -> float:
        return float(getattr(result, name))

    return measure


_KERAS_IO = """The networks, Adam at 0.001, batches of 64, the epochs, T, alpha and the loss (with its factor T^2) are
those of the page. What differs: an epoch leaves out the last 32 of 60,000 images, which are no whole batch. The page
says "around" and names neither n nor spread. Its code got the factor T^2 after these figures were written, so students
without it are here as well: alpha = 0.917 with the factor has the gradient of alpha = 0.1 without, but for a constant
that Adam divides out."""

_HINTON = """What differs from section 3: Adam, whose rate falls from 0.001 to 0 along half a cosine, instead of
stochastic gradient descent with momentum; batches of 250 instead of 100; far fewer epochs (their teacher's recipe,
arXiv:1207.0580, has thousands) for the teacher and for the students; the weight of the labels, 0.1, which the paper
does not print for MNIST. As there: all 60,000 images; the teacher alone sees jittered ones, its logits and the
students are of the images as they are."""

_UNITS = """What differs is as with the errors above. The paper gives no figures for other temperatures and sizes, so
only its words can be held against these."""

_NO_THREES = """What differs is as with the errors above. Whether their students also saw the labels of the other digits
is not said, so both are here: labels of nine classes push the tenth down. As in the paper, the best raise is tuned on
the test images: it says what a bias can repair, not what one would find without them."""

"""The sections of smoothed, smaller and early-stopped teachers on the page of bench/published.py."""

from __future__ import annotations

from statistics import fmean

from support.page import table
from support.published.records import Lines
from support.published.sections import Section
from support.published.shown import (
    BySeed,
    Printed,
    agreeing,
    by_seed,
    difference,
    differences_of_differences,
    mean,
    verdict,
)
from support.published.trainings import GRID_T, HINTON_T, SMOOTHED_TEMPERATURES, Size, Training, trainings_of
from sweeps.stats.estimates import differences, holm, t_p_value


def smoothing(lines: Lines, size: Size) -> Section:
    """Make the section of Mueller, Kornblith & Hinton 2019."""
    rows = trainings_of("teachers", size)
    hard, smooth = _whole(rows, size, "dropout-1200"), _whole(rows, size, "jitter-1200")
    figures = {"hard": (67, 74), "smooth": (59, 91)}  # printed as 0.67, 0.74, 0.59 and 0.91 % of the test images
    cells = []
    pairs: dict[float, tuple[BySeed, BySeed]] = {}
    for network, temperatures in (("mlp-800", (HINTON_T,)), ("mlp-300", SMOOTHED_TEMPERATURES)):
        for temperature in temperatures:
            of = [_students(rows, teachers, network, temperature) for teachers in (hard, smooth)]
            found = by_seed(lines, of[0]), by_seed(lines, of[1])
            if network == "mlp-300":
                pairs[temperature] = found
            cells.append(
                (
                    network,
                    f"{temperature:g}",
                    *map(mean, found),
                    difference(found[1], found[0]),
                    *(agreeing(lines, some) for some in of),
                )
            )
    heads = (
        "student",
        "T",
        "errors, teacher with dropout",
        "errors, smoothed teacher",
        "smoothed less dropout, paired",
        "agreement, dropout",
        "agreement, smoothed",
    )
    of_teachers = (
        f"Errors of the teachers: with dropout {mean(by_seed(lines, hard))}, smoothed {mean(by_seed(lines, smooth))}."
    )
    printed = []
    for kind, name, some in (("hard", "dropout", hard), ("smooth", "label smoothing", smooth)):
        students = _students(rows, some, "mlp-800", HINTON_T)
        for what, figure, of_these in zip(("teacher", "its student"), figures[kind], (some, students), strict=True):
            printed.append(Printed(f"Müller, {what} with {name}", figure, by_seed(lines, of_these), "errors"))
    return Section(
        "Müller et al. 2019: smoothed teachers",
        f"{of_teachers}\n\n{table(heads, cells)}",
        printed,
        _claims(pairs),
        _SMOOTHED,
    )


def stopped(lines: Lines, size: Size) -> Section:
    """Make the section of Cho & Hariharan 2019."""
    rows = trainings_of("teachers", size)
    whole = _whole(rows, size, "dropout-1200")
    kinds = [
        (network, epochs)
        for network in ("dropout-1200", "dropout-300")
        for epochs in (*size.stopped, size.teacher_epochs)
    ]
    cells, pairs = [], dict[str, tuple[BySeed, BySeed]]()
    for network, epochs in kinds:
        some = [one for one in rows if (one.network, one.epochs) == (network, epochs) and not one.label_smoothing]
        for student in ("mlp-30", "mlp-300"):
            students = _students(rows, some, student, GRID_T)
            against = by_seed(lines, _students(rows, whole, student, GRID_T))
            found = by_seed(lines, students)
            itself = (network, epochs) == ("dropout-1200", size.teacher_epochs)
            cells.append(
                (
                    student,
                    f"{network} x {epochs}",
                    mean(by_seed(lines, some)),
                    mean(found),
                    "" if itself else difference(found, against),
                    agreeing(lines, students),
                )
            )
            if not itself:
                pairs[f"{student} of {network} x {epochs}"] = found, against
    heads = (
        "student",
        "teacher x epochs",
        "errors of the teacher",
        "errors of the student",
        "less those with the largest teacher, paired",
        "agrees with its teacher",
    )
    better, worse = _told_apart(pairs)
    claim = (
        'Cho & Hariharan, "larger models do not often make better teachers", and stopping early mitigates it: students'
        f" of smaller or stopped teachers are better in {len(better)} of {len(pairs)} cells ({_listed(better)}), worse"
        f" in {len(worse)} ({_listed(worse)}), the others are not told apart (Holm's correction over the cells)."
    )
    body = table(heads, sorted(cells, key=lambda cell: cell[0]))
    return Section("Cho & Hariharan 2019: smaller and early-stopped teachers", body, [], [claim], _STOPPED)


def _whole(rows: list[Training], size: Size, network: str) -> list[Training]:
    """Return the teachers of one network that were trained to the end."""
    return [one for one in rows if (one.network, one.epochs) == (network, size.teacher_epochs)]


def _students(rows: list[Training], teachers: list[Training], network: str, temperature: float) -> list[Training]:
    """Return the students of some teachers, of one network and temperature."""
    names = {(one.name, one.seed) for one in teachers}
    return [
        one for one in rows if one.teacher_key in names and (one.network, one.temperature) == (network, temperature)
    ]


def _claims(pairs: dict[float, tuple[BySeed, BySeed]]) -> list[str]:
    low, high = SMOOTHED_TEMPERATURES[0], SMOOTHED_TEMPERATURES[-1]
    said = []
    for temperature in (low, high):
        hard, smooth = pairs[temperature]
        found = verdict(smooth, hard, below="the opposite", above="holds")
        said.append(f"Müller, a smoothed teacher teaches worse, mlp-300 at T = {temperature:g}: {found}.")
    costs = differences_of_differences(pairs[high][::-1], pairs[low][::-1])
    found = verdict(*costs, below="the opposite", above="holds")
    return [*said, f"Müller, smoothing costs more at T = {high:g} than at T = {low:g}: {found}."]


def _told_apart(pairs: dict[str, tuple[BySeed, BySeed]]) -> tuple[list[str], list[str]]:
    """Return which first of a pair is lower, and which higher, at a family-wise error rate of 5 %."""
    each = {name: differences(*pair) for name, pair in pairs.items()}
    p_values = {name: p for name, values in each.items() if (p := t_p_value(values)) is not None}
    told = [name for name, p in holm(p_values).items() if p < 0.05]
    lower = [name for name in told if fmean(each[name]) < 0]
    return lower, [name for name in told if name not in lower]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


_SMOOTHED = """The printed figures are of section 4: teachers on jittered MNIST with dropout and with "label smoothing
instead of dropout", students "narrower, unregularized" on images as they are. What differs: as for Hinton et al. 2015
above. They give neither the sizes, nor T, nor the factor of smoothing for MNIST, here 1200, 800, 20 and 0.1. The grid
of temperatures and the students of 300 units are ours; their own grid is ResNet-56 to AlexNet on CIFAR-10."""

_STOPPED = f"""Their networks are ResNets on CIFAR-10 and ImageNet; here they are layers of rectified linear units on
MNIST, with the same kind of teacher throughout, T = {GRID_T:g} and alpha = 0.1, so this asks for the direction alone. A
stopped teacher is one whose learning rate falls to 0 over its fewer epochs."""

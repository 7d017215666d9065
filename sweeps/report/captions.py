"""What is seen in each figure, in words and numbers: the captions of a report, as plain text."""

from collections.abc import Sequence

from sweeps.analysis.analysis import Surface
from sweeps.report.figure_data import ArmMark, CostMark, Pictures, by_dataset


def captions(found: Pictures) -> dict[str, str]:
    """A caption for each figure of `figures.NAMES` whose data is there."""
    said = {}
    if found.surfaces:
        said["surface"] = (
            "Validation accuracy over temperature and alpha, interpolated between the trials and not beyond them:"
            f" {'; '.join(map(_range, found.surfaces))}. Every trial is a single run. The filled star is the confirmed"
            " best; open stars are candidates that confirm's fresh seeds cannot tell from it. Square and diamond are"
            " the untuned defaults of keras.io and of Keras."
        )
        said["history"] = (
            "The searches trial by trial, first the evenly spread Sobol points, then what TPE proposed. The highest:"
            f" {'; '.join(map(_highest, found.surfaces))}. The highest of many single runs is partly the luckiest,"
            " which is why the best ones run again on fresh seeds."
        )
    if found.arms:
        said["arms"] = (
            "Test accuracy of the arms, on seeds that no selection saw. A tick is one seed, the bar the 95 % t interval"
            f" of the mean. The highest mean: {'; '.join(_highest_means(found.arms))}. All arms share their seeds, so"
            " the paired differences in the table tell more than whether two bars overlap."
        )
    if found.latency:
        said["cost-latency"] = (
            "Mean test accuracy against the latency of one image on one thread, median. On the Pareto front nothing is"
            f" both faster and more accurate: {'; '.join(_fronts(found.latency))}. Students of one dataset share one"
            " network and so one latency; teachers and baselines are one run each."
        )
    if found.training:
        said["cost-training"] = (
            "Mean test accuracy against the seconds of training: those of the student, of its teacher and of the search"
            " that chose its T and alpha. On the Pareto front nothing is both cheaper and more accurate:"
            f" {'; '.join(_fronts(found.training))}. A difference smaller than the intervals above is none."
        )
    if found.break_even:
        said["break-even"] = (
            "The best validation accuracy of AutoKeras after each of its trials, against the CPU seconds it had used;"
            " dashed the distilled student. Dotted: multiples of the CPU seconds of the sweep: its teachers, search and"
            " confirm."
        )
    return said


def _range(one: Surface) -> str:
    values = [point.accuracy for point in one.points]
    return f"on {one.dataset} {min(values):.2f} to {max(values):.2f} % in {len(values)} trials"


def _highest(one: Surface) -> str:
    top = max(one.points, key=lambda point: point.accuracy)
    return (
        f"on {one.dataset} trial {top.number} of {len(one.points)} with {top.accuracy:.2f} %"
        f" at T = {top.temperature:.3g}, alpha = {top.alpha:.3g}"
    )


def _highest_means(marks: Sequence[ArmMark]) -> list[str]:
    said = []
    for dataset, group in by_dataset(marks).items():
        means = {mark.arm: round(mark.mean.mean, 9) for mark in group}
        top = max(means.values())
        said.append(f"on {dataset} {' and '.join(arm for arm in means if means[arm] == top)} with {top:.2f} %")
    return said


def _fronts(marks: Sequence[CostMark]) -> list[str]:
    said = []
    for dataset, group in by_dataset(marks).items():
        front = sorted((mark for mark in group if mark.on_front), key=lambda mark: mark.cost)
        said.append(f"on {dataset} {', '.join(mark.method for mark in front)}")
    return said

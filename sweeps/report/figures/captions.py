"""The captions of the figures: what each one shows, in words and numbers."""

from collections.abc import Sequence

from sweeps.analysis.surfaces import Surface
from sweeps.report.figures.data import ArmMark, CostMark, Pictures, by_dataset
from sweeps.report.formats import point


def captions(shown: Pictures) -> dict[str, str]:
    """Return a caption for each figure of `svg.NAMES` whose data is there."""
    said = {}
    if shown.surfaces:
        said["surface"] = (
            "Validation accuracy over temperature and alpha, interpolated between the trials without extrapolation:"
            f" {'; '.join(map(_range, shown.surfaces))}. Every trial is a single run. The filled star is the confirmed"
            " best; open stars are candidates that the confirm seeds cannot distinguish from it. Square and diamond are"
            " the untuned defaults of keras.io and of Keras."
        )
        said["history"] = (
            "Validation accuracy trial by trial: first the evenly spread Sobol points, then the points that TPE"
            f" proposed. Best search trial: {'; '.join(map(_highest, shown.surfaces))}. The highest of many single runs"
            " is partly luck, so the best trials are retrained on fresh seeds."
        )
    if shown.arms:
        said["arms"] = (
            "Test accuracy of the arms, on seeds that no selection saw. A tick is one seed, the bar the 95 % t interval"
            f" of the mean. Highest mean: {'; '.join(_highest_means(shown.arms))}. All arms share their seeds, so the"
            " paired differences in the table are more precise than a comparison of two bars."
        )
    if shown.latency:
        said["cost-latency"] = (
            "Mean test accuracy against the median latency of one image on one thread. Pareto front:"
            f" {'; '.join(_fronts(shown.latency))}; no other method is both faster and more accurate than one of these."
            " All students of a dataset share one network and so one latency; teachers and baselines are one run each."
        )
    if shown.training:
        said["cost-training"] = (
            "Mean test accuracy against the seconds of training: of the student, of its teacher and of the search that"
            f" chose its T and alpha. Pareto front: {'; '.join(_fronts(shown.training))}; no other method is both"
            " cheaper and more accurate than one of these. Differences smaller than the intervals above are not"
            " conclusive."
        )
    if shown.break_even:
        said["break-even"] = (
            "Best validation accuracy of AutoKeras after each of its trials, against the CPU seconds used so far. The"
            " dashed line is the distilled student. Dotted lines are multiples of the CPU seconds of the sweep: its"
            " teachers, search and confirm."
        )
    return said


def _range(one: Surface) -> str:
    values = [trial.accuracy for trial in one.trials]
    return f"on {one.dataset} {min(values):.2f} to {max(values):.2f} % in {len(values)} trials"


def _highest(one: Surface) -> str:
    top = max(one.trials, key=lambda trial: trial.accuracy)
    return f"on {one.dataset} trial {top.number} of {len(one.trials)} with {top.accuracy:.2f} % at {point(top.point)}"


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

"""The captions of the figures: what each one shows, in words and numbers."""

from sweeps.analysis.surfaces import Surface
from sweeps.report.figures.data import Pictures
from sweeps.report.figures.gains import outside
from sweeps.report.names import called
from sweeps.stats.estimates import limits


def captions(shown: Pictures) -> dict[str, str]:
    """Return a caption for each figure of `svg.NAMES` whose data is there."""
    said = {}
    if shown.gains:
        counts = sorted({mark.mean.n for mark in shown.gains})
        seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        left_out, beyond = outside(shown.gains)
        lines = any(limits(mark.mean) for mark in shown.gains)
        what = "Line: mean and 95 % interval over" if lines else "Large dot: mean of"
        said["gains"] = (
            f"{what} {seeds} training seeds, each compared with the undistilled network of"
            f" the same seed. Small dots: single seeds{f' (outside the frame: {left_out})' if left_out else ''}."
            f"{' Arrow: the mean lies outside the frame.' if beyond else ''} Test images that no selection saw."
        )
    if shown.regrets:
        several = len(shown.regrets[0].searches) > 1
        over = "searches and their seeds" if several else "training seeds"
        dots = " Small dots: one search on each dataset." if several else ""
        what = "Line: mean and 95 % interval" if any(limits(mark.mean) for mark in shown.regrets) else "Large dot: mean"
        said["regret"] = f"{what} over {over}.{dots} The line may not cross the margin."
    if shown.methods:
        said["methods"] = "The students are means over seeds, every other model is one run. Size: of its file."
    if shown.surfaces:
        fitted = any(one.top is not None for one in shown.surfaces)
        how = (
            "Shading: the surface fitted to all runs of all searches."
            if fitted
            else "Every trial is a single run; too few searches for a fitted surface."
        )
        said["surface"] = f"{how} {'; '.join(map(_highest, shown.surfaces))}."
    if shown.break_even:
        said["break-even"] = (
            "Best validation accuracy of AutoKeras after each of its trials, against the CPU seconds used so far. The"
            " dashed line is the distilled student. Dotted lines are multiples of the CPU seconds of the sweep: its"
            " teachers, search and confirm."
        )
    return said


def _highest(one: Surface) -> str:
    top = max(one.trials, key=lambda trial: trial.accuracy)
    return (
        f"Highest single run of the first search on {called(one.dataset)}: {top.accuracy:.2f} % at {top.point.text()},"
        " partly luck"
    )

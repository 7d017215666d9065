"""Draw the intervals of all settings against the baseline."""

import warnings

from sweeps.judge.judging import Judgement
from sweeps.judge.words import Numbers
from sweeps.report.document import typeset
from sweeps.report.figures.data import BLACK, VERMILLION
from sweeps.report.figures.style import LIFT, SMALL, as_svg, column, frame, name_row, set_rows, style, value_row
from sweeps.stats.estimates import limits
from sweeps.terminal import truncated

NAME, NARROW = "settings", "settings-narrow"
ALT = "Each setting minus the baseline, with 95 % CIs"
CAPTION = (
    "Dot and line: mean difference and 95 % CI over pairs with the same dataset and seed; right of the line is"
    " better. Intervals are for each setting alone; the p values in the table adjust for all settings."
)
_LONGEST = 24  # characters of a name
_MOST = 40  # rows


def caption(judgement: Judgement) -> str:
    count = len(judgement.others)
    return f"{CAPTION} The best {_MOST} of {count:,} settings." if count > _MOST else CAPTION


def draw(judgement: Judgement, *, phone: bool = False) -> str:
    numbers, lift = Numbers(judgement), LIFT if phone else 0.0
    settings = [
        (setting.name, setting.against.difference)
        for setting in judgement.others
        if setting.against.difference is not None
    ][:_MOST]
    ends = [end for _, value in settings for end in (value.mean, *(limits(value) or ()))]
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # text stays text, and browsers have the glyphs
        figure, (axes,) = column([len(settings)], below=0.5, above=0.12, phone=phone)
        axes.set_xlim(*frame([0.0, *map(judgement.shown, ends)]))
        axes.axvline(0, color=BLACK, lw=1.1, zorder=1)
        axes.grid(visible=True, axis="x")
        for row, (name, value) in enumerate(settings):
            if known := limits(value):
                axes.plot([*map(judgement.shown, known)], [row, row], color=VERMILLION, lw=2.6, zorder=3)
            axes.plot(judgement.shown(value.mean), row, "o", color=VERMILLION, ms=7.5, mec="white", mew=1, zorder=4)
            interval = numbers.interval(value).partition(" ")
            name_row(axes, row - lift, truncated(name, _LONGEST), "")
            value_row(axes, row - lift, typeset(interval[0]), typeset(interval[2].strip("[]")))
        set_rows(axes, len(settings))
        unit = "points" if judgement.runs.percent else judgement.runs.score
        axes.set_xlabel(f"{unit} better than {truncated(judgement.baseline, _LONGEST)}", fontsize=SMALL)
        return as_svg(figure)

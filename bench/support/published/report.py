"""The page of bench/published.py, made of its CSV alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from support.page import table
from support.published.records import Lines, Result
from support.published.sections import Section, hinton_errors, hinton_units, keras_io, no_threes
from support.published.teachers import smoothing, stopped
from support.published.trainings import FULL, Size, Training, trainings_of

SECTIONS: Mapping[str, tuple[Callable[[Lines, Size], Section], ...]] = {
    "keras-io": (keras_io,),
    "hinton-errors": (hinton_errors,),
    "no-threes": (no_threes,),
    "hinton-units": (hinton_units,),
    "teachers": (smoothing, stopped),
}


def page(lines: Lines, size: Size) -> str:
    """Return the page as Markdown: first where we differ, then every row, at last what it was made with.

    Args:
        lines: what the CSV holds; of a row that lacks some, the page says how many it has.
        size: which trainings are asked for.
    """
    sections = {row: [make(lines, size) for make in makers] for row, makers in SECTIONS.items()}
    every = [section for some in sections.values() for section in some]
    parts = ["# What was measured", _intro(size), "## Where we differ", _deviations(every)]
    parts += ["## What the papers say in words", _bullets(claim for section in every for claim in section.claims)]
    for row, some in sections.items():
        wanted = trainings_of(row, size)
        for section in some:
            parts += [f"## {section.title}", _progress(row, wanted, lines), section.body, section.differs]
    parts += ["## Made with", _made_with(lines, size)]
    return "\n\n".join(parts) + "\n"


def _intro(size: Size) -> str:
    full = " --full" if size is FULL else ""
    return f"""Written by `python bench/published.py --report{full}` from `bench/results/published.csv`, one line for
each finished training; `python bench/published.py{full}` trains what is missing and writes it again.

A number is the mean over seeds of the student with its 95 % t interval and n. Students take turns with
{size.teacher_seeds} teachers of other seeds: that is all that an interval knows of a teacher's luck. Differences are
paired by seed, which gives both the same initial weights and order of images. A printed figure is one run, so it is
held against the 95 % interval of one more run here, which is wider than that of the mean. No training, epoch or setting
was selected by the test images; what the paper tuned on them is said to be. Agreement is the share of the test images
of which student and teacher say the same class (Stanton et al. 2021, arXiv:2106.05945). alpha weighs the labels."""


def _deviations(sections: list[Section]) -> str:
    printed = [one for section in sections for one in section.printed]
    outside = [one for one in printed if one.deviates]
    inside = [one for one in printed if one.deviates is False]
    open_ = len(printed) - len(outside) - len(inside)
    once = [one for one in printed if one.deviates is None and one.values]
    head = (
        f"Of {len(printed)} printed figures {len(outside)} lie outside of what one run here gives and {len(inside)}"
        f" inside; {open_} cannot be told, for want of three runs: those that have a value stand last. What differs in"
        " the setting is said with each row."
    )
    return "\n\n".join([head, _bullets(map(str, [*outside, *inside, *once]))]).strip()


def _progress(row: str, wanted: list[Training], lines: Lines) -> str:
    there = sum(one in lines for one in wanted)
    text = f"`python bench/published.py --rows {row}`: {there} of {len(wanted)} trainings are there."
    return text if there == len(wanted) else f"**Partial.** {text} The same command goes on."


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _made_with(lines: Lines, size: Size) -> str:
    wanted = {one for row in SECTIONS for one in trainings_of(row, size)}
    found = [result for training, result in lines.items() if training in wanted]
    if not found:
        return "Nothing is trained yet."
    days = sorted(result.finished for result in found)
    cells = []
    for row in SECTIONS:
        own = [result for training, result in lines.items() if training in wanted and training.row == row]
        cells.append((row, len(own), f"{_sum(own, 'cpu_s'):.2f}", f"{_sum(own, 'train_s'):.2f}"))
    return "\n\n".join(
        [
            f"{len(found)} trainings, from {days[0]} to {days[-1]} UTC, one TensorFlow thread each.",
            table(("row", "its own trainings", "CPU hours", "hours of one core by the wall clock"), cells),
            _bullets(
                f"{name}: {'; '.join(sorted({str(getattr(result, key)) for result in found}))}"
                for name, key in (("commits", "commit"), ("versions", "versions"), ("hardware", "machine"))
            ),
            "Where the wall clock counts much more than the CPU, other programs ran beside.",
        ]
    )


def _sum(results: list[Result], key: str) -> float:
    return sum(float(getattr(result, key)) for result in results) / 3600

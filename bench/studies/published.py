"""Does this package reproduce published results of distillation? Each paper's figures are compared with ours.

    python bench/studies/published.py [--part NAME ...] [--list | --declare | --page] [--storage DIR] [--workers N]

A part is a sweep of the trainer "custom": its arms are the cells of `support/published.py`, its seeds those of the
comparison. Until a part has run as a sweep, its figures come from bench/results/published.csv, the record of the
program that trained them first: bench/published.py, last in commit dfc4004.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median_high, stdev
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

from support import published
from support.page import FOLDER, table
from support.parts import Done, Part, Study, main
from support.published import HINTON_T, HOME, ROWS, TEMPERATURES, TEST_IMAGES, Cell, Counts, temperature_arm, trainings
from sweeps.stats.estimates import FEWEST_RUNS, differences, estimate, holm, paired, t_p_value, t_quantile

RECORD = FOLDER / "published.csv"
LOW, MIDDLE, HIGH, ABOVE_8 = (1.0, 1.5, 2.0), (2.5, 3.0, 4.0), (8.0, 12.0, 20.0, 40.0), (12.0, 20.0, 40.0)

BySeed: TypeAlias = Mapping[int, float]
Training: TypeAlias = tuple[Cell, int]


def spec(row: str, done: Done, place: Path) -> Mapping[str, Any]:
    """Return the complete spec of a row. Its search has one trial, of a cell that is also an arm.

    With nothing to choose, search and confirm return at once. The arm "best", which every sweep has, then has the point
    of a cell; it comes last and takes over the trainings of that cell.
    """
    cells = published.arms(row)
    return {
        "seed": published.SEED,
        "source": {"dataset": "mnist"},
        "search": {"trials": 1, "sampler": "qmc"},
        "confirm": {"rounds": [[1, 1]]},
        "transfer": {"seeds": ROWS[row].seeds, "margin": 1.0, "rule": 3, "source_arms": [*cells, "best"]},
        "trainer": {
            "kind": "custom",
            "train": "support.published:train",
            "test": "none",  # as in the first program, whose only validation images were the test images
            "space": {"cell": {"choices": list(map(str, cells.values()))}},
            "defaults": {arm: {"cell": str(cell)} for arm, cell in cells.items()},
        },
    }


def cell_of(line: Mapping[str, str]) -> Cell:
    """Return the cell of a line of the record."""
    teachers = {cell.name: cell for cell in HOME if cell.teaches}
    return Cell(
        network=line["network"],
        epochs=int(line["epochs"]),
        teaches=line["arm"] == "teacher",
        smoothing=float(line["label_smoothing"]),
        without=int(line["without"]) if line["without"] else None,
        temperature=float(line["temperature"]),
        alpha=float(line["alpha"]),
        teacher=teachers[line["teacher"]] if line["teacher"] else None,
    )


def recorded() -> Mapping[Training, Mapping[str, str]]:
    """Read the lines of the record, by cell and number of the seed."""
    with RECORD.open(encoding="utf-8", newline="") as file:
        return {(cell_of(line), int(line["seed"])): line for line in csv.DictReader(file)}


class Figures:
    """The counts of every training, from the CSV of a finished part or from the record."""

    def __init__(self, done: Done) -> None:
        self.swept = set(done)
        lines = {key: {**line, "trained_cpu_s": line["cpu_s"]} for key, line in recorded().items()}
        self.counts = {key: Counts.of(line) for key, line in lines.items() if HOME[key[0]] not in done}
        for part, trained in done.items():
            for training in trained:
                if training.stage == "transfer" and training.arm != "best":
                    cell = ROWS[part].cells[training.arm]
                    number = training.repeat % len(cell.numbers(ROWS[part].seeds))
                    self.counts[cell, number] = Counts.of(training.more)

    def of(self, row: str, arm: str, measure: str = "errors") -> dict[int, float]:
        """Return a measure of the trainings of a cell, by the number of their seed."""
        cell = ROWS[row].cells[arm]
        counts = {number: self.counts[cell, number] for number in cell.numbers(ROWS[row].seeds)}
        return {number: value for number, count in counts.items() if (value := getattr(count, measure)) is not None}

    def agreement(self, row: str, arm: str) -> str:
        shares = self.of(row, arm, "agreement").values()
        return f"{100 * fmean(shares):.2f} %" if shares else "-"

    def origin(self, rows: Sequence[str]) -> str:
        """Return the number of trainings of some rows, and the origin of each part."""
        cells = {(cell, number) for row in rows for cell, number in trainings(row)}
        homes = {HOME[cell] for cell, _ in cells}
        swept, rest = ([f"`{row}`" for row in ROWS if row in some] for some in (homes & self.swept, homes - self.swept))
        origins = [f"{name}: {', '.join(some)}" for name, some in (("of a sweep", swept), ("recorded", rest)) if some]
        command = " ".join(["python bench/studies/published.py", *(f"--part {row}" for row in rows)])
        return f"`{command}`: {len(cells)} trainings; {'; '.join(origins)}."


def mean(values: BySeed, digits: int = 1) -> str:
    """Format a mean with its 95 % t interval and n: "81.3 [78.0, 84.6] n=5"."""
    return _written(estimate(list(values.values())), digits, "")


def difference(first: BySeed, second: BySeed, digits: int = 1) -> str:
    """Format the mean of first - second, paired by seed, likewise."""
    return _written(paired(first, second), digits, "+")


def _written(value: Any, digits: int, sign: str) -> str:
    low, high = (f"{end:{sign}.{digits}f}" for end in (value.low, value.high))
    return f"{value.mean:{sign}.{digits}f} [{low}, {high}] n={value.n}"


def verdict(first: BySeed, second: BySeed, *, below: str, above: str, unit: str = "errors", digits: int = 1) -> str:
    """Return one of two words by the interval of first - second, below or above 0, with the difference."""
    value: Any = paired(first, second)
    word = below if value.high < 0 else above if value.low > 0 else "cannot be told"
    number, _, n = _written(value, digits, "+").rpartition(" ")
    return f"{word}, {number} {unit} {n}"


def interval_of_a_run(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % prediction interval of one more run: mean ± t[0.975, n - 1] * s * sqrt(1 + 1/n).

    A paper's figure is one run, so it is compared with this interval, not with that of the mean.
    """
    n = len(values)
    if n < FEWEST_RUNS:
        return None
    half = t_quantile(0.975, n - 1) * stdev(values) * (1 + 1 / n) ** 0.5
    return fmean(values) - half, fmean(values) + half


@dataclass(frozen=True)
class Printed:
    """A figure of a paper beside ours, in the unit of our values."""

    what: str
    figure: float
    values: BySeed
    unit: str = "errors"

    def __str__(self) -> str:
        digits = 2 if self.unit == "%" else 1
        head = f"{self.what}: printed {self.figure:g} {self.unit}, here {mean(self.values, digits)}"
        limits = interval_of_a_run(list(self.values.values()))
        if limits is None:
            runs = ", ".join(f"{value:g}" for value in self.values.values())
            return f"{head}. Too few runs to say where another lies: {runs}."
        where = "**outside**" if self.deviates else "inside"
        low, high = limits
        return f"{head}. One run here lies in {low:.{digits}f} to {high:.{digits}f}: the printed figure is {where}."

    @property
    def deviates(self) -> bool | None:
        """Whether it is outside the interval of one run here; None with too few runs."""
        limits = interval_of_a_run(list(self.values.values()))
        return None if limits is None else not limits[0] <= self.figure <= limits[1]


@dataclass(frozen=True)
class Section:
    """The section of one paper. claims: its statements in words. differs: differences from its setting."""

    title: str
    rows: Sequence[str]
    body: str
    printed: Sequence[Printed]
    claims: Sequence[str]
    differs: str


def _networks(
    figures: Figures, row: str, paper: str, names: Mapping[str, tuple[str, float]], unit: str = "errors"
) -> tuple[Mapping[str, BySeed], str, Sequence[Printed]]:
    """Return our values by arm, their table with the printed figures, and the printed figures."""
    ours, cells = {arm: figures.of(row, arm) for arm in names}, []
    if unit == "%":
        ours = {
            arm: {n: 100 * (1 - count / TEST_IMAGES) for n, count in errors.items()} for arm, errors in ours.items()
        }
    for arm, (name, figure) in names.items():
        seconds = median_high(figures.of(row, arm, "trained_cpu_s").values())
        value = mean(ours[arm], 2 if unit == "%" else 1)
        cells.append((name, value, figure, figures.agreement(row, arm), f"{seconds:.0f}"))
    measured = "test accuracy, %" if unit == "%" else "test errors of 10,000"
    heads = ("network", measured, "printed", "agrees with its teacher", "CPU s each")
    printed = [Printed(f"{paper}, {name}", figure, ours[arm], unit) for arm, (name, figure) in names.items()]
    return ours, table(heads, cells), printed


def keras_io(figures: Figures) -> Section:
    names = {
        "teacher": ("teacher, 5 epochs", 97.6),
        "scratch": ("student from scratch, 3 epochs", 97.6),
        "distilled": ("student distilled at T = 10, alpha = 0.1, 3 epochs", 98.1),
        "without-factor": ("the same without the factor T^2", 98.1),
    }
    ours, networks, printed = _networks(figures, "keras-io", "keras.io", names, "%")
    gain, without = (difference(ours[arm], ours["scratch"], 2) for arm in ("distilled", "without-factor"))
    claims = [
        f'keras.io, "a performance boost" over the same student from scratch, {loss}:'
        f" {verdict(ours[arm], ours['scratch'], below='the opposite', above='holds', unit='points', digits=2)}."
        for arm, loss in (("distilled", "with the page's loss"), ("without-factor", "without its factor T^2"))
    ]
    body = f"""{networks}

Distilled less from scratch, paired by seed: {gain} points, without the factor T^2 {without}; printed 0.5."""
    return Section("keras.io's example", ["keras-io"], body, printed, claims, _KERAS_IO)


def hinton_errors(figures: Figures) -> Section:
    names = {
        "teacher": ("teacher, 2 x 1200, dropout, jitter", 67),
        "scratch": ("student, 2 x 800, labels alone", 146),
        "distilled": ("student, 2 x 800, distilled at T = 20", 74),
    }
    ours, networks, printed = _networks(figures, "hinton-errors", "Hinton", names)
    pair = ours["distilled"], ours["scratch"]
    claim = verdict(*pair, below="holds", above="the opposite")
    body = f"{networks}\n\nDistilled less labels alone, paired by seed: {difference(*pair)} errors; printed -72."
    claims = [f"Hinton, the distilled student makes fewer errors than that of labels alone: {claim}."]
    return Section("Hinton et al. 2015: errors on MNIST", ["hinton-errors"], body, printed, claims, _HINTON)


def no_threes(figures: Figures) -> Section:
    row, printed, cells = "no-threes", list[Printed](), []
    students = {"soft-targets": "soft targets alone", "with-labels": "with labels"}
    for arm, student in students.items():
        for bias, kind, of_all, of_threes in (
            ("as trained", "", 206, 133),
            ("raised by 3.5", "raised_", 109, 14),
            ("raised by what is best on the test images", "best_", 109, 14),
        ):
            wrong, threes = (figures.of(row, arm, f"{kind}{counted}") for counted in ("errors", "threes"))
            agreement = figures.agreement(row, arm)
            cells.append((student, bias, mean(wrong), mean(threes), f"{of_all} ({of_threes})", agreement))
            what = f"Hinton without 3s, {student}, bias {bias}"
            printed += [Printed(what, of_all, wrong), Printed(f"{what}, on the 1,010 threes", of_threes, threes)]
    best = "; ".join(f"{name} {mean(figures.of(row, arm, 'best_bias'), 2)}" for arm, name in students.items())
    heads = ("student", "bias of class 3", "test errors", "of them on the 1,010 threes", "printed")
    return Section(
        "Hinton et al. 2015: a transfer set without 3s",
        [row],
        f"{table((*heads, 'agrees, as trained'), cells)}\n\nThe best raise on the test images: {best}; printed 3.5.",
        printed,
        [],
        _NO_THREES,
    )


def hinton_units(figures: Figures) -> Section:
    rows, tables, claims = [row for row in ROWS if row.startswith("hinton-units")], list[str](), list[str]()
    heads = ("T", "test errors", "less those at T = 20, paired", "agrees with its teacher")
    for row in rows:
        units = int(row.rpartition("-")[2])
        ours = {value: figures.of(row, temperature_arm(value)) for value in TEMPERATURES}
        cells = [
            (
                f"{value:g}",
                mean(errors),
                difference(errors, ours[HINTON_T]),
                figures.agreement(row, temperature_arm(value)),
            )
            for value, errors in ours.items()
        ]
        tables += [f"### {units} units per layer", table(heads, cells)]
        claims += _of_30(ours) if units == 30 else _of_many(units, ours)
    return Section("Hinton et al. 2015: temperature and size", rows, "\n\n".join(tables), [], claims, _UNITS)


def _of_30(ours: Mapping[float, BySeed]) -> Iterator[str]:
    for name, others in (("higher (8 to 40)", HIGH), ("lower (1 to 2)", LOW)):
        pair = [{n: fmean(ours[value][n] for value in values) for n in ours[HINTON_T]} for values in (MIDDLE, others)]
        yield (
            f'Hinton, with 30 units T from 2.5 to 4 "worked significantly better" than {name}:'
            f" {verdict(*pair, below='holds', above='the opposite')}, of means over T."
        )


def _of_many(units: int, ours: Mapping[float, BySeed]) -> Iterator[str]:
    means = {value: fmean(errors.values()) for value, errors in ours.items()}
    best, worst = min(ABOVE_8, key=means.__getitem__), max(ABOVE_8, key=means.__getitem__)
    yield (
        f'Hinton, with {units} units all T above 8 gave "fairly similar results" (no figure is given): means of'
        f" {means[best]:.1f} (T = {best:g}) to {means[worst]:.1f} errors (T = {worst:g}), over all ten temperatures"
        f" {min(means.values()):.1f} to {max(means.values()):.1f};"
        f" T = {worst:g} less T = {best:g} is {difference(ours[worst], ours[best])}."
    )


def smoothing(figures: Figures) -> Section:
    row, cells, pairs = "teachers", [], dict[float, tuple[BySeed, BySeed]]()
    kinds = {"whole": ("dropout", 67, 74), "smoothed": ("label smoothing", 59, 91)}  # % of the test images, as errors
    taught = [("mlp-800", HINTON_T), *(("mlp-300", value) for value in published.SMOOTHED_TEMPERATURES)]
    for network, value in taught:
        arms = [f"{network}-{temperature_arm(value)}-{kind}" for kind in kinds]
        hard, smooth = (figures.of(row, arm) for arm in arms)
        agreements = [figures.agreement(row, arm) for arm in arms]
        cells.append((network, f"{value:g}", mean(hard), mean(smooth), difference(smooth, hard), *agreements))
        pairs[value] = hard, smooth  # of mlp-300, which comes last
    heads = ["student", "T", "errors, teacher with dropout", "errors, smoothed teacher"]
    heads += ["smoothed less dropout, paired", "agreement, dropout", "agreement, smoothed"]
    printed = []
    for kind, (name, of_teacher, of_student) in kinds.items():
        student = figures.of(row, f"mlp-800-{temperature_arm(HINTON_T)}-{kind}")
        printed.append(Printed(f"Müller, teacher with {name}", of_teacher, figures.of(row, kind)))
        printed.append(Printed(f"Müller, its student with {name}", of_student, student))
    low, high = published.SMOOTHED_TEMPERATURES[0], published.SMOOTHED_TEMPERATURES[-1]
    finding = partial(verdict, below="the opposite", above="holds")
    claims = [
        f"Müller, a smoothed teacher teaches worse, mlp-300 at T = {value:g}: {finding(*reversed(pairs[value]))}."
        for value in (low, high)
    ]
    costs = [{n: smooth[n] - hard[n] for n in hard} for hard, smooth in (pairs[high], pairs[low])]
    claims.append(f"Müller, smoothing costs more at T = {high:g} than at T = {low:g}: {finding(*costs)}.")
    of_teachers = ", ".join(
        f"{name} {mean(figures.of(row, kind))}" for kind, name in (("whole", "with dropout"), ("smoothed", "smoothed"))
    )
    return Section(
        "Müller et al. 2019: smoothed teachers",
        [row],
        f"Errors of the teachers: {of_teachers}.\n\n{table(heads, cells)}",
        printed,
        claims,
        _SMOOTHED,
    )


def stopped(figures: Figures) -> Section:
    row, whole, cells, pairs = "teachers", "dropout-1200-40", [], dict[str, Sequence[float]]()
    for (arm, teacher), network in product(published.STOPPED.items(), ("mlp-30", "mlp-300")):
        student, less = figures.of(row, f"{network}-{arm}"), ""
        if arm != whole:
            against = figures.of(row, f"{network}-{whole}")
            less = difference(student, against)
            pairs[f"{network} of {teacher.name}"] = differences(student, against)
        agreement = figures.agreement(row, f"{network}-{arm}")
        cells.append((network, teacher.name, mean(figures.of(row, arm)), mean(student), less, agreement))
    adjusted = holm({name: p for name, values in pairs.items() if (p := t_p_value(values)) is not None})
    significant = [name for name, p in adjusted.items() if p < 0.05]
    better, worse = ([name for name in significant if (fmean(pairs[name]) < 0) is lower] for lower in (True, False))
    claim = (
        'Cho & Hariharan, "larger models do not often make better teachers", and stopping early mitigates it: students'
        f" of smaller or stopped teachers are better in {len(better)} of {len(pairs)} cells"
        f" ({', '.join(better) or 'none'}), worse in {len(worse)} ({', '.join(worse) or 'none'}), the others are not"
        " told apart (Holm's correction over the cells)."
    )
    heads = ["student", "teacher x epochs", "errors of the teacher", "errors of the student"]
    heads += ["less those with the largest teacher, paired", "agrees with its teacher"]
    title = "Cho & Hariharan 2019: smaller and early-stopped teachers"
    by_student = sorted(cells, key=lambda cell: cell[0])
    return Section(title, [row], table(heads, by_student), [], [claim], _STOPPED)


SECTIONS: Sequence[Callable[[Figures], Section]] = (
    keras_io,
    hinton_errors,
    no_threes,
    hinton_units,
    smoothing,
    stopped,
)


def page(done: Done) -> str:
    """Return the page: deviations first, then every section, then the origin of the record."""
    figures = Figures(done)
    sections = [make(figures) for make in SECTIONS]
    parts = [_INTRO, "## Where we differ", *_deviations([figure for section in sections for figure in section.printed])]
    parts += ["## What the papers say in words", _bullets(claim for section in sections for claim in section.claims)]
    for section in sections:
        parts += [f"## {section.title}", figures.origin(section.rows), section.body, section.differs]
    return "\n\n".join([*parts, "## What the record was made with", _made_with(list(recorded().values()))])


def _deviations(printed: Sequence[Printed]) -> Iterator[str]:
    outside, inside, open_ = (
        [figure for figure in printed if figure.deviates is where] for where in (True, False, None)
    )
    yield (
        f"Of {len(printed)} printed figures {len(outside)} lie outside of what one run here gives and {len(inside)}"
        f" inside; {len(open_)} cannot be told, for want of three runs: those that have a value stand last. What"
        " differs in the setting is said with each row."
    )
    yield _bullets([*outside, *inside, *open_])


def _bullets(lines: Iterable[object]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _made_with(lines: Sequence[Mapping[str, str]]) -> str:
    days = sorted(line["finished"] for line in lines)
    cells = []
    for row in ("keras-io", "hinton-errors", "no-threes", "hinton-units", "teachers"):
        own = [line for line in lines if line["row"] == row]
        hours = [f"{sum(float(line[key]) for line in own) / 3600:.2f}" for key in ("cpu_s", "train_s")]
        cells.append((row, len(own), *hours))
    makers = {
        name: "; ".join(sorted({line[key] for line in lines}))
        for name, key in (("commits", "commit"), ("versions", "versions"), ("hardware", "machine"))
    }
    return f"""{len(lines)} trainings, from {days[0]} to {days[-1]} UTC, one TensorFlow thread each.

{table(("row", "its own trainings", "CPU hours", "hours of one core by the wall clock"), cells)}

{_bullets(f"{name}: {text}" for name, text in makers.items())}

Where the wall clock counts much more than the CPU, other programs ran beside."""


_INTRO = """# What was measured

Written by `python bench/studies/published.py --page`: a part that was trained as a sweep has its figures from
`bench/results/studies/published`, any other from the record, `bench/results/published.csv`, which has one line for each
training of bench/published.py, last in commit dfc4004. Each section says which.

A number is the mean over seeds of the student with its 95 % t interval and n. Students take turns with
2 teachers of other seeds: that is all that an interval knows of a teacher's luck. Differences are
paired by seed, which gives both the same initial weights and order of images. A printed figure is one run, so it is
held against the 95 % interval of one more run here, which is wider than that of the mean. No training, epoch or setting
was selected by the test images; what the paper tuned on them is said to be. Agreement is the share of the test images
of which student and teacher say the same class (Stanton et al. 2021, arXiv:2106.05945). alpha weighs the labels."""

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

_SMOOTHED = """The printed figures are of section 4: teachers on jittered MNIST with dropout and with "label smoothing
instead of dropout", students "narrower, unregularized" on images as they are. What differs: as for Hinton et al. 2015
above. They give neither the sizes, nor T, nor the factor of smoothing for MNIST, here 1200, 800, 20 and 0.1. The grid
of temperatures and the students of 300 units are ours; their own grid is ResNet-56 to AlexNet on CIFAR-10."""

_STOPPED = """Their networks are ResNets on CIFAR-10 and ImageNet; here they are layers of rectified linear units on
MNIST, with the same kind of teacher throughout, T = 4 and alpha = 0.1, so this asks for the direction alone. A
stopped teacher is one whose learning rate falls to 0 over its fewer epochs."""

STUDY = Study(name="published", parts={row: Part(changes=partial(spec, row)) for row in ROWS}, page=page, within=FOLDER)


if __name__ == "__main__":
    sys.exit(main(STUDY, str(__doc__), sys.argv[1:]))

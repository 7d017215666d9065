"""Published results as cells, each a training on several seeds, and the function that a sweep calls for one of them.

keras-io: keras.io's example. hinton-errors, no-threes, hinton-units: Hinton et al. 2015, section 3. teachers: Mueller,
Kornblith & Hinton 2019 (smoothed teachers) and Cho & Hariharan 2019 (smaller and early-stopped ones).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any, get_args

from kd.config import TrainingConfig
from sweeps.plan.identity import derive

SEED = 2015  # of every spec
TEACHERS = 2  # of each kind: students take turns with them
TEST_IMAGES = 10_000
DIGIT = 3  # the "mythical digit" of Hinton et al. 2015, section 3
TEMPERATURES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 8.0, 12.0, 20.0, 40.0)
SMOOTHED_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
HINTON_T, GRID_T = 20.0, 4.0  # GRID_T: of the students of smaller and stopped teachers
LABEL_SHARE = 0.1  # the papers give no weight of the labels on MNIST; Hinton et al. call for "a considerably lower" one
# 0.1 CE + 0.9 KL, the loss of keras.io's first code, is 0.109 times (a CE + (1 - a) T^2 KL) with this a at T = 10; Adam
# divides such a factor out.
WITHOUT_FACTOR = 0.1 / (0.1 + 0.9 / 10**2)
SMOOTHING = 0.1  # Mueller et al. give no factor for MNIST; the usual one


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A training, whatever its seed. teaches: it has the seeds of teachers. without: a digit that it never sees."""

    network: str
    epochs: int
    teaches: bool = False
    smoothing: float = 0.0
    without: int | None = None
    temperature: float = 1.0
    alpha: float = 1.0
    teacher: "Cell | None" = None

    @property
    def name(self) -> str:
        """The network with what was done to it; that of a teacher names it in its students."""
        return f"{self.network} x {self.epochs}" + (f" smoothed {self.smoothing:g}" if self.smoothing else "")

    def __str__(self) -> str:
        """The recipe: a spec holds it, so that its fingerprint changes with it."""
        point = f", T = {self.temperature:g}, alpha = {self.alpha:g}, by {self.teacher.name}" if self.teacher else ""
        return f"{self.name}{point}" + ("" if self.without is None else f", without {self.without}")

    @property
    def training(self) -> TrainingConfig:
        """The recipe that the cells of a paper share: keras.io's own, or that of Hinton's networks here."""
        if self.network.startswith("keras-"):
            return TrainingConfig(epochs=self.epochs, batch_size=64, learning_rate=1e-3)
        return TrainingConfig(epochs=self.epochs, batch_size=250, learning_rate=1e-3, schedule="cosine")

    def numbers(self, seeds: int) -> range:
        """Return the numbers of its seeds: students of one number have the same initial weights and batches."""
        return range(TEACHERS if self.teaches else seeds)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a training gave on the test images; None where it is not asked.

    errors, threes: images that are wrong, and those among them that show a 3. agreement: share of the images of which
    it says what its teacher says. raised: the same counts with the bias of class 3 raised by 3.5; best: raised by
    best_bias, which gives the fewest errors on these images. trained_cpu_s: of the training, compilation included.
    """

    errors: int
    threes: int
    agreement: float | None = None
    raised_errors: int | None = None
    raised_threes: int | None = None
    best_bias: float | None = None
    best_errors: int | None = None
    best_threes: int | None = None
    trained_cpu_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Counts":
        """Read what a CSV or a file of a teacher has of them."""
        kinds = {count.name: float if float in (count.type, *get_args(count.type)) else int for count in fields(cls)}
        return cls(**{name: kind(values[name]) for name, kind in kinds.items() if values.get(name) not in (None, "")})


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cells of a paper's result by the names of their arms, each on so many seeds."""

    seeds: int
    cells: Mapping[str, Cell]


def _teacher(network: str, epochs: int, smoothing: float = 0.0) -> Cell:
    return Cell(network=network, epochs=epochs, teaches=True, smoothing=smoothing)


def _student(network: str, teacher: Cell, temperature: float, alpha: float = LABEL_SHARE) -> Cell:
    return Cell(network=network, epochs=20, teacher=teacher, temperature=temperature, alpha=alpha)


def _keras_io() -> Mapping[str, Cell]:
    teacher, scratch = _teacher("keras-teacher", 5), Cell(network="keras-student", epochs=3)
    distilled = replace(scratch, teacher=teacher, temperature=10.0, alpha=0.1)
    without = replace(distilled, alpha=WITHOUT_FACTOR)
    return {"teacher": teacher, "scratch": scratch, "distilled": distilled, "without-factor": without}


WHOLE = _teacher("dropout-1200", 40)
SMOOTHED = _teacher("jitter-1200", 40, SMOOTHING)
_DISTILLED = _student("mlp-800", WHOLE, HINTON_T)
_UNSEEN = replace(_DISTILLED, without=DIGIT)


def _units(units: int) -> Mapping[str, Cell]:
    students = {temperature_arm(value): _student(f"mlp-{units}", WHOLE, value) for value in TEMPERATURES}
    return {"teacher": WHOLE, **students}


def temperature_arm(temperature: float) -> str:
    return f"t{temperature:g}".replace(".", "-")


STOPPED: Mapping[str, Cell] = {
    f"{network}-{epochs}": _teacher(network, epochs)
    for network in ("dropout-1200", "dropout-300")
    for epochs in (2, 8, 40)
}


def _teachers() -> Mapping[str, Cell]:
    taught = [("mlp-800", HINTON_T), *(("mlp-300", temperature) for temperature in SMOOTHED_TEMPERATURES)]
    kinds = {"whole": WHOLE, "smoothed": SMOOTHED}
    cells = {**STOPPED, **kinds}
    for (network, temperature), (name, teacher) in product(taught, kinds.items()):
        cells[f"{network}-{temperature_arm(temperature)}-{name}"] = _student(network, teacher, temperature)
    for network, (name, teacher) in product(("mlp-30", "mlp-300"), STOPPED.items()):
        cells[f"{network}-{name}"] = _student(network, teacher, GRID_T)
    return cells


ROWS: Mapping[str, Row] = {
    "keras-io": Row(seeds=10, cells=_keras_io()),
    "hinton-errors": Row(
        seeds=10, cells={"teacher": WHOLE, "scratch": Cell(network="mlp-800", epochs=20), "distilled": _DISTILLED}
    ),
    "no-threes": Row(
        seeds=5, cells={"teacher": WHOLE, "soft-targets": replace(_UNSEEN, alpha=0.0), "with-labels": _UNSEEN}
    ),
    **{
        f"hinton-units-{units}": Row(seeds=seeds, cells=_units(units))
        for units, seeds in ((30, 10), (300, 5), (800, 2))
    },
    "teachers": Row(seeds=5, cells=_teachers()),
}

HOME: Mapping[Cell, str] = {cell: row for row in list(ROWS)[::-1] for cell in ROWS[row].cells.values()}
"""The row whose sweep trains a cell: the first one that has it. The others read it there."""

_CELLS = {str(cell): cell for cell in HOME}
NUMBERS = {
    derive(SEED, "student", "transfer", number): number for number in range(max(row.seeds for row in ROWS.values()))
}
"""The number of a seed of the comparison, by the seed that the plan of a sweep has for it."""


def arms(row: str) -> Mapping[str, Cell]:
    """Return what the sweep of a row trains; what an earlier row has is read there."""
    return {arm: cell for arm, cell in ROWS[row].cells.items() if HOME[cell] == row}


def trainings(row: str) -> Sequence[tuple[Cell, int]]:
    """Return each cell of a row with each number of its seeds."""
    return [(cell, number) for cell in ROWS[row].cells.values() for number in cell.numbers(ROWS[row].seeds)]


def train(cell: str, *, seed: int, report: Callable[..., None]) -> Mapping[str, Any]:
    """Train a cell; validation is the accuracy on the test images, which nothing here is selected by."""
    number = NUMBERS.get(seed)
    if number is None:  # of the search and its confirm, which every sweep has: here there is nothing to choose
        return {"validation": 0.0}
    from support import published_training  # TensorFlow

    counts = published_training.counts(_CELLS[cell], number, report)
    facts = {name: value for name, value in asdict(counts).items() if value is not None}
    return {"validation": 1 - counts.errors / TEST_IMAGES, **facts}

"""What bench/published.py trains, row by row: one frozen value for each training, and how many each row has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kd.config import Schedule
from support.published.scores import DIGIT

NETWORKS: Mapping[str, str] = {
    "keras-teacher": "keras-teacher",
    "keras-student": "keras-student",
    "mlp-800": "mlp-800",
    **{
        name: f"support.published.networks:{name.replace('-', '_')}"
        for name in ("mlp-30", "mlp-300", "dropout-1200", "dropout-300", "jitter-1200")
    },
}
"""Name in the CSV, and the name by which `kd.models.named.build` knows it."""

TEMPERATURES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 8.0, 12.0, 20.0, 40.0)
SMOOTHED_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)  # of the same grid, so that half of these students are shared
HINTON_T = 20.0
GRID_T = 4.0  # of the students of early-stopped and smaller teachers
LABEL_SHARE = 0.1  # the papers give no weight of the labels on MNIST; Hinton et al. call for "a considerably lower" one
# 0.1 CE + 0.9 KL, the loss of keras.io's first code, is 0.109 times (a CE + (1 - a) T^2 KL) with this a at T = 10; Adam
# divides such a factor out.
WITHOUT_FACTOR = 0.1 / (0.1 + 0.9 / 10**2)
SMOOTHING = 0.1  # Mueller et al. give no factor for MNIST; the usual one


class PublishedError(Exception):
    """An expected failure of this bench: one line with the value got, what is allowed, what to type next."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything that the errors of a network depend on, but for the versions and the machine.

    Attributes:
        row, arm: where it is printed first; another row that needs the same training takes it from there.
        network: a key of `NETWORKS`.
        label_smoothing: in [0, 1); 0 for students.
        without: digit that is left out of the training images; None keeps all.
        temperature, alpha: of the distillation; alpha weighs the labels, and 1 is training without a teacher.
        teacher, teacher_seed: `name` and seed of the training that teaches; "" and -1 without one.
        seed: number of the seed, from 0; of one number, students of all arms start from the same weights.
    """

    row: str = field(compare=False)
    arm: str = field(compare=False)
    network: str
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Schedule
    label_smoothing: float = 0.0
    without: int | None = None
    temperature: float = 1.0
    alpha: float = 1.0
    teacher: str = ""
    teacher_seed: int = -1
    seed: int

    @property
    def name(self) -> str:
        """Name of the network with what was done to it, without its seed; that of a teacher names it in students."""
        smoothed = f" smoothed {self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.network} x {self.epochs}{smoothed}"

    @property
    def teacher_key(self) -> tuple[str, int]:
        """What its teacher is found by."""
        return self.teacher, self.teacher_seed


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is trained: that of a few hours on two cores, or the full one.

    Attributes:
        seeds: of the students of each cell.
        teacher_seeds: teachers of each kind; students take turns with them.
        unit_seeds: students of each temperature, by units per layer.
        teacher_epochs: of Hinton's teacher; student_epochs: of the students on MNIST but those of keras.io.
        stopped: epochs of the teachers that stop early.
    """

    seeds: int
    teacher_seeds: int
    unit_seeds: Mapping[int, int]
    grid_seeds: int
    teacher_epochs: int
    student_epochs: int
    stopped: Sequence[int]


SMALL = Size(
    seeds=10,
    teacher_seeds=2,
    unit_seeds={30: 10, 300: 5, 800: 2},
    grid_seeds=5,
    teacher_epochs=40,
    student_epochs=20,
    stopped=(2, 8),
)
FULL = Size(
    seeds=10,
    teacher_seeds=5,
    unit_seeds={30: 10, 300: 10, 800: 10},
    grid_seeds=10,
    teacher_epochs=200,
    student_epochs=60,
    stopped=(2, 8, 40),
)


def _mlp(row: str, arm: str, network: str, epochs: int, seed: int, **other: object) -> Training:
    base = Training(
        row=row,
        arm=arm,
        network=network,
        epochs=epochs,
        batch_size=250,
        learning_rate=1e-3,
        schedule="cosine",
        seed=seed,
    )
    return replace(base, **other)  # type: ignore[arg-type]


def _taught(size: Size, teacher: Training, row: str, arm: str, network: str, seed: int, **other: object) -> Training:
    options = {"temperature": HINTON_T, "alpha": LABEL_SHARE, "teacher": teacher.name, "teacher_seed": teacher.seed}
    return _mlp(row, arm, network, size.student_epochs, seed, **(options | other))


def _hinton_teacher(size: Size, seed: int) -> Training:
    return _mlp("hinton-errors", "teacher", "dropout-1200", size.teacher_epochs, seed % size.teacher_seeds)


def keras_io(size: Size) -> Iterator[Training]:
    """Yield the three networks of keras.io's example, with its optimizer: Adam at 0.001 throughout, batches of 64."""

    def one(arm: str, network: str, epochs: int, seed: int, **other: object) -> Training:
        base = _mlp("keras-io", arm, network, epochs, seed, batch_size=64, schedule="constant")
        return replace(base, **other)  # type: ignore[arg-type]

    for seed in range(size.seeds):
        teacher = one("teacher", "keras-teacher", 5, seed % size.teacher_seeds)
        yield teacher
        yield one("scratch", "keras-student", 3, seed)
        taught = {"temperature": 10.0, "teacher": teacher.name, "teacher_seed": teacher.seed}
        yield one("distilled", "keras-student", 3, seed, alpha=0.1, **taught)
        yield one("without T^2", "keras-student", 3, seed, alpha=WITHOUT_FACTOR, **taught)


def hinton_errors(size: Size) -> Iterator[Training]:
    """Yield the teacher, the student of labels alone and the student at T = 20 of section 3."""
    for seed in range(size.seeds):
        teacher = _hinton_teacher(size, seed)
        yield teacher
        yield _mlp("hinton-errors", "scratch", "mlp-800", size.student_epochs, seed)
        yield _taught(size, teacher, "hinton-errors", "distilled", "mlp-800", seed)


def no_threes(size: Size) -> Iterator[Training]:
    """Yield students that never see a 3, of soft targets alone and with the labels of the other digits."""
    for seed in range(size.grid_seeds):
        teacher = _hinton_teacher(size, seed)
        yield teacher
        for arm, alpha in (("soft targets alone", 0.0), ("with labels", LABEL_SHARE)):
            yield _taught(size, teacher, "no-threes", arm, "mlp-800", seed, without=DIGIT, alpha=alpha)


def hinton_units(size: Size) -> Iterator[Training]:
    """Yield students of 30, 300 and 800 units at ten temperatures."""
    for units, seeds in size.unit_seeds.items():  # the cheapest first: each is a finding of its own
        for seed in range(seeds):
            teacher = _hinton_teacher(size, seed)
            yield teacher
            for temperature in TEMPERATURES:
                arm = f"{units} units"
                yield _taught(size, teacher, "hinton-units", arm, f"mlp-{units}", seed, temperature=temperature)


def teachers(size: Size) -> Iterator[Training]:
    """Yield students of smoothed teachers, and of smaller and early-stopped ones."""
    for seed in range(size.grid_seeds):
        whole = _hinton_teacher(size, seed)
        smoothed = _mlp(
            "teachers", "teacher", "jitter-1200", size.teacher_epochs, whole.seed, label_smoothing=SMOOTHING
        )
        kinds = [
            _mlp("teachers", "teacher", network, epochs, whole.seed)
            for network in ("dropout-1200", "dropout-300")
            for epochs in (*size.stopped, size.teacher_epochs)
        ]
        yield from (whole, smoothed, *kinds)
        for teacher in (whole, smoothed):
            yield _taught(size, teacher, "teachers", "smoothing", "mlp-800", seed)
            for temperature in SMOOTHED_TEMPERATURES:
                yield _taught(size, teacher, "teachers", "smoothing", "mlp-300", seed, temperature=temperature)
        for teacher in kinds:
            for network in ("mlp-30", "mlp-300"):
                yield _taught(size, teacher, "teachers", "stopped", network, seed, temperature=GRID_T)


ROWS: Mapping[str, Callable[[Size], Iterator[Training]]] = {
    "keras-io": keras_io,
    "hinton-errors": hinton_errors,
    "no-threes": no_threes,
    "hinton-units": hinton_units,
    "teachers": teachers,
}


def trainings_of(row: str, size: Size) -> list[Training]:
    """Return every training of a row once, teachers before their students, seeds outside.

    Raises:
        PublishedError: there is no such row.
    """
    if row not in ROWS:
        raise PublishedError(f"no row {row!r}; allowed for --rows: {' '.join(ROWS)}")
    return list(dict.fromkeys(ROWS[row](size)))

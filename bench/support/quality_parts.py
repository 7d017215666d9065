"""What bench/quality.py trains, part by part, and the CSV with what came out: one line a training."""

import csv
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from support.surfaces import SurfaceError
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.presets import preset

ARMS = ("scratch", "best")
BATCH = 64
STUDENT_RATE = 1e-3  # as in keras.io's example
TEACHER_RATE = preset("quick").training.teacher_learning_rate


@dataclass(frozen=True)
class Training:
    """Everything that an accuracy depends on, but for the constants above, the versions and the machine."""

    dataset: str
    images: int
    views: int
    teacher: str
    teacher_epochs: int
    student: str
    epochs: int
    arm: str
    temperature: float
    alpha: float
    seed: int


@dataclass(frozen=True)
class Result:
    """What a training gave. Accuracies are fractions; the teacher's is that of the validation images."""

    test_accuracy: float
    val_accuracy: float
    teacher_val_accuracy: float
    cpu_s: float
    commit: str


HEADS = [one.name for kind in (Training, Result) for one in fields(kind)]
Rows: TypeAlias = Mapping[Training, Result]


@dataclass(frozen=True)
class Part:
    """One student and its teacher on one dataset.

    views: of each training image, see `kd.data.augmentation`; 1 is no augmentation. epochs: of the students, each a
    line of the table. anchor: what others have published, and what differs here.
    """

    name: str
    dataset: str
    images: int
    views: int
    teacher: str
    teacher_epochs: int
    student: str
    epochs: tuple[int, ...]
    anchor: str

    def trainings(self, best: tuple[float, float], seeds: int) -> list[Training]:
        """All of them; seeds outside, so that an interrupted run has whole pairs."""
        points = {"scratch": astuple(DEFAULT_POINTS["scratch"]), "best": best}
        return [
            Training(
                dataset=self.dataset,
                images=self.images,
                views=self.views,
                teacher=self.teacher,
                teacher_epochs=self.teacher_epochs,
                student=self.student,
                epochs=epochs,
                arm=arm,
                temperature=points[arm][0],
                alpha=points[arm][1],
                seed=seed,
            )
            for seed in range(seeds)
            for epochs in self.epochs
            for arm in ARMS
        ]

    def __str__(self) -> str:
        """How it is trained, in a sentence or two."""
        views = f", {self.views} flip-crop views of each" if self.views > 1 else ""
        return (
            f"{self.images:,} training images of {Path(self.dataset).name}{views}, batch {BATCH}. The student"
            f" {self.student} has Adam's learning rate at {STUDENT_RATE:g} throughout; the teacher {self.teacher} has"
            f" {self.teacher_epochs} epochs, and it falls from {TEACHER_RATE:g} along half a cosine."
        )


PARTS = (
    Part(
        name="mnist",
        dataset="mnist",
        images=50_000,
        views=1,
        teacher="cnn-small",
        teacher_epochs=6,
        student="keras-student",
        epochs=(3, 20),
        anchor="The student is that of keras.io's example of distillation, which trains it for 3 epochs.",
    ),
    Part(
        name="mlp",
        dataset="mnist",
        images=50_000,
        views=1,
        teacher="cnn-small",
        teacher_epochs=6,
        student="mlp-800",
        epochs=(10,),
        anchor="""\
Anchor: Hinton et al. 2015, arXiv:1503.02531, section 3. The same student makes 146 errors on the 10,000 test images
(98.54 %) from scratch, and 74 (99.26 %) where it also learns from a teacher that makes 67. What differs: that teacher
has two layers of 1200 units, dropout, a limit on the weights, and images jittered by up to two pixels; here it is a
small convolutional net with none of these. They have all 60,000 training images, and T = 20.""",
    ),
    Part(
        name="resnet8",
        dataset="cifar10",
        images=10_000,
        views=8,
        teacher="cnn-small",
        teacher_epochs=16,
        student="resnet8",
        epochs=(8,),
        anchor="""\
Anchor: MLPerf Tiny asks 85 % of this architecture, which they train on all 50,000 images for 500 epochs, rotated,
shifted and mirrored anew each time (https://github.com/mlcommons/tiny, benchmark/training/image_classification). Here
a fifth of the images and a sixtieth of the epochs are what a core does in a quarter of an hour, so this says how much a
teacher helps, not how good the student can be. For that, about a day of a core (reckoned, not run): `python
bench/quality.py --part resnet8 --images 45000 --epochs 200 --teacher resnet20 --teacher-epochs 60`.""",
    ),
)


def read_rows(path: Path) -> dict[Training, Result]:
    """What a CSV holds; nothing where there is no file.

    Raises:
        SurfaceError: it is not such a file.
    """
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if lines.fieldnames != HEADS:
                raise ValueError(f"its columns are {lines.fieldnames}, allowed are {','.join(HEADS)}")
            return {_parsed(Training, line): _parsed(Result, line) for line in lines}
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise SurfaceError(f"cannot read {path}: {error}; to begin again, type: rm {path}") from None


def write_rows(path: Path, rows: Rows) -> None:
    """Puts rows into a CSV, all or none; `read_rows` gives them back."""
    unfinished = path.with_name(f"{path.name}.new")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, HEADS, lineterminator="\n")
        lines.writeheader()
        lines.writerows(asdict(training) | asdict(result) for training, result in rows.items())
    unfinished.replace(path)


def _parsed(kind: Any, line: Mapping[str, str]) -> Any:
    return kind(**{one.name: one.type(line[one.name]) for one in fields(kind)})

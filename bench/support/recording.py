"""A recording of hundreds of trainings that may be interrupted anywhere and goes on where it was.

A folder holds what there is so far: `plan.json` (what is recorded; another plan is refused), `teacher.npy` (its logits,
so that every student has the same teacher) and `trainings.jsonl`, one line appended per finished training.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from support.surfaces import Point, SurfaceError


@dataclass(frozen=True)
class Training:
    """One finished training.

    Attributes:
        temperature, alpha: the cell.
        seed: the number of the seed, from 0.
        scores: validation accuracy after each epoch, fractions.
        train_s: wall-clock seconds of this training alone.
        session: when the run that it belongs to began, ISO 8601.
        elapsed_s: wall-clock seconds from there to the end of this training.
    """

    temperature: float
    alpha: float
    seed: int
    scores: Sequence[float]
    train_s: float
    session: str
    elapsed_s: float

    @property
    def point(self) -> Point:
        """What was trained."""
        return self.temperature, self.alpha, self.seed


class Recording:
    """The folder of an unfinished recording.

    Args:
        folder: made if it is missing.
        plan: JSON values; everything that the scores depend on.

    Raises:
        SurfaceError: the folder belongs to another plan, or cannot be read.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        self.trainings: dict[Point, Training] = {}
        self._lines = folder / "trainings.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")  # as the caches of pytest and ruff do
        self._claim(dict(plan))
        self._read()

    def teacher_logits(
        self, train: Callable[[], tuple[npt.NDArray[np.float32], float]]
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Logits of the teacher and its validation accuracy: those kept here, or those that `train` returns now."""
        kept, score = self.folder / "teacher.npy", self.folder / "teacher.json"
        if not score.exists():  # written last: where it is, the logits are whole
            logits, accuracy = train()
            np.save(kept, logits, allow_pickle=False)
            score.write_text(json.dumps(accuracy))
        try:
            return np.load(kept, allow_pickle=False), float(json.loads(score.read_text()))
        except (OSError, ValueError) as error:
            raise self._unreadable(kept, error) from None

    def append(self, training: Training) -> None:
        """Keeps a finished training; it is on the disk when this returns."""
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(training)) + "\n")
        self.trainings[training.point] = training

    @property
    def wall_s(self) -> float:
        """Wall-clock seconds of all runs together, pauses between them left out."""
        ends: dict[str, float] = {}
        for training in self.trainings.values():
            ends[training.session] = max(training.elapsed_s, ends.get(training.session, 0.0))
        return sum(ends.values())

    def remove(self) -> None:
        """Deletes the folder: what it held is in its place now."""
        shutil.rmtree(self.folder)

    def _claim(self, plan: dict[str, Any]) -> None:
        path = self.folder / "plan.json"
        if not path.exists():
            path.write_text(json.dumps(plan, indent=1))
            return
        try:
            begun = dict(json.loads(path.read_text()))
        except ValueError as error:
            raise self._unreadable(path, error) from None
        for key, value in plan.items():
            if begun.get(key) != value:
                raise SurfaceError(
                    f"{self.folder} was begun with {key}={begun.get(key)}, got {value}; type the options that it was"
                    f" begun with, or: rm -r {self.folder}"
                )

    def _read(self) -> None:
        if not self._lines.exists():
            return
        text = self._lines.read_text(encoding="utf-8")
        whole, _, torn = text.rpartition("\n")
        if torn:  # a run that was killed while it wrote; the next line must not be glued to it
            self._lines.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
        for line in whole.splitlines():
            try:
                training = Training(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise self._unreadable(self._lines, error) from None
            self.trainings[training.point] = training

    def _unreadable(self, path: Path, error: Exception) -> SurfaceError:
        return SurfaceError(f"cannot read {path}: {error}; to begin again, type: rm -r {self.folder}")

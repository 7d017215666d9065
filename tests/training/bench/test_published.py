"""bench/support/published_training.py: the networks, the counts, and the recorded figures."""

import csv
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from support import published, published_training
from support.published import DIGIT, ROWS, Cell, Counts

RECORD = REPOSITORY / "bench" / "results" / "published.csv"


def _quiet(*_: Any, **__: Any) -> None:
    """Ignore progress."""


def test_an_image_shifts_by_the_drawn_offset_and_is_padded_with_zeros() -> None:
    image = np.arange(1, 26, dtype=np.float32).reshape(1, 5, 5, 1)
    moves = np.array([[2, 2], [0, 0], [4, 2], [1, 4]], np.int32)
    out = np.asarray(published_training.moved(np.repeat(image, 4, axis=0), moves, 2))[..., 0]
    plane = image[0, :, :, 0]
    assert (out[0] == plane).all()
    assert (out[1][2:, 2:] == plane[:3, :3]).all()
    assert out[1][:2].sum() == out[1][:, :2].sum() == 0
    assert (out[2][:3] == plane[2:]).all()
    assert out[2][3:].sum() == 0
    assert (out[3][1:, :3] == plane[:4, 2:]).all()


def test_jitter_draws_every_move_of_up_to_two_pixels_and_only_in_training() -> None:
    keras.utils.set_random_seed(1)
    layer = published_training.Jitter(published_training.JITTER)
    images = np.zeros((2000, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    assert (np.asarray(layer(images, training=False)) == images).all()
    places = {tuple(place) for place in np.argwhere(np.asarray(layer(images, training=True)))[:, 1:3].tolist()}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}


def test_a_raised_bias_is_counted_and_the_smallest_best_one_taken() -> None:
    labels = np.array([3, 3, 3, 1])
    logits = np.zeros((4, 10), np.float32)
    logits[[0, 1, 2, 3], [3, 2, 2, 1]] = [1.0, 0.95, 2.05, 4.0]
    assert published_training.errors(logits, labels) == published_training.errors(logits, labels, DIGIT) == 2
    assert published_training.best_bias(logits, labels, DIGIT) == 2.1
    assert published_training.errors(published_training.raised(logits, DIGIT, 1.0), labels) == 1
    assert published_training.errors(published_training.raised(logits, DIGIT, 5.0), labels) == 1


def test_an_omitted_digit_is_learned_only_from_a_teacher() -> None:
    def trained(**of: Any) -> tuple[Any, Counts]:
        cell = Cell(network="mlp-30", epochs=200, **of)
        return published_training.trained(cell, 0, teacher, _quiet, name="digits")

    teacher = None
    of_all, taught = trained()
    _, alone = trained(without=DIGIT)
    data = published_training.images("digits", None)
    threes = int((data.validation.labels == DIGIT).sum())
    assert taught.threes < threes == alone.threes
    teacher = published_training.Teacher(of_all.logits(data.train), of_all.logits(data.validation), taught)
    _, student = trained(without=DIGIT, temperature=4.0, alpha=0.0)
    assert student.threes < threes
    assert student.agreement is not None
    assert 0 < student.agreement <= 1
    assert student.best_errors is not None
    assert student.raised_errors is not None
    assert student.best_errors <= min(student.errors, student.raised_errors)


@pytest.mark.slow
def test_a_smoothed_teacher_is_less_confident() -> None:
    sure = []
    for smoothing in (0.0, published.SMOOTHING):
        cell = Cell(network="mlp-300", epochs=200, smoothing=smoothing)
        trainer, _ = published_training.trained(cell, 0, None, _quiet, name="digits")
        logits = trainer.logits(published_training.images("digits", None).train)
        sure.append(np.exp(logits.max(axis=-1) - np.log(np.exp(logits).sum(axis=-1))).mean())
    assert sure[0] > 0.98
    assert sure[1] == pytest.approx(0.91, abs=0.03)  # 1 - 0.1 + 0.1 / 10, where the loss is least


@pytest.mark.slow
def test_a_teacher_and_its_student_make_the_recorded_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_training, "teachers_folder", lambda: tmp_path)
    seeds = {number: seed for seed, number in published.NUMBERS.items()}

    def train(arm: str) -> Any:
        return published.train(str(ROWS["teachers"].cells[arm]), seed=seeds[0], report=_quiet)

    teacher, student = train("dropout-300-2"), train("mlp-30-dropout-300-2")
    with RECORD.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "teachers" and line["seed"] == "0"]
    names = ("errors", "threes", "agreement")
    of_teacher = next(line for line in lines if (line["network"], line["epochs"]) == ("dropout-300", "2"))
    of_student = next(line for line in lines if (line["network"], line["teacher"]) == ("mlp-30", "dropout-300 x 2"))
    assert [str(teacher.get(name, "")) for name in names] == [of_teacher[name] for name in names]
    assert [str(student.get(name, "")) for name in names] == [of_student[name] for name in names]
    assert teacher["validation"] == 1 - int(of_teacher["errors"]) / 10_000
    files = {path.name for path in tmp_path.glob("*.npz")}
    assert files == {"dropout-300-x-2-0.npz"}
    assert train("dropout-300-2") == teacher  # from its file: the seconds, too

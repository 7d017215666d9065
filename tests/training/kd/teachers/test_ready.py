"""kd.teachers.train: a real pretrained network as the teacher; AutoKeras is one in test_kd_baselines_autokeras.py."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kd.baselines.applications import APPLICATIONS
from kd.baselines.methods import Budget
from kd.config import DistillConfig, TeacherResult, TrainingConfig
from kd.data.datasets import Dataset, load
from kd.errors import ModelError
from kd.teachers.train import teach_with, teacher_logits
from kd.training.batches import view
from kd.training.student import StudentTrainer

BUDGET = Budget(trials=1, epochs=1, seconds=300)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_images=300)


@pytest.fixture(scope="module")
def taught(
    shared_data: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TeacherResult, list[tuple[float, str]]]:
    """MobileNet as the teacher of gray images of 8x8 pixels in two views, and the progress it reported."""
    home = shared_data / "keras"
    if not (home / "models" / APPLICATIONS["mobilenet"].weights_file).is_file():
        pytest.skip(f"no ImageNet weights in {home}: set KD_SWEEPS_TEST_DATA to a folder that holds them")
    seen: list[tuple[float, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(home))
        work = tmp_path_factory.mktemp("work")
        result = teach_with(
            "mobilenet",
            digits,
            budget=BUDGET,
            seed=5,
            work_dir=work,
            on_progress=lambda fraction, text: seen.append((fraction, text)),
            views=2,
        )
        assert not list(work.iterdir())
    return result, seen


def test_it_knows_its_training_images_and_says_so_in_logits_of_each_view(
    taught: tuple[TeacherResult, list[tuple[float, str]]], digits: Dataset
) -> None:
    result = taught[0]
    assert (result.logits.shape, result.logits.dtype) == ((2, 300, 10), np.float32)
    right = [float(np.mean(logits.argmax(axis=-1) == digits.train.labels)) for logits in result.logits]
    assert right[0] > 0.95
    assert right[1] < right[0]  # of 8 pixels a view may push 4 out
    assert result.logits.min() < -1


def test_its_result_reads_as_that_of_a_trained_one(
    taught: tuple[TeacherResult, list[tuple[float, str]]], digits: Dataset
) -> None:
    result = taught[0].result
    assert result.val_accuracy > 0.8
    assert result.epoch_val_accuracy == (result.val_accuracy,)
    assert (result.train_images, result.seed) == (300, 5)
    assert result.cpu_s > 0
    assert result.train_s > 0


def test_the_logits_are_those_of_its_file(
    taught: tuple[TeacherResult, list[tuple[float, str]]], digits: Dataset
) -> None:
    few = digits.train.images[:40]  # which have the views of the whole
    for number, logits in enumerate(taught[0].logits):
        again = teacher_logits(taught[0].model, view(few, number))
        np.testing.assert_allclose(again, logits[:40], rtol=1e-4, atol=1e-4)


def test_progress_runs_from_0_to_1_without_turning_back(
    taught: tuple[TeacherResult, list[tuple[float, str]]],
) -> None:
    fractions = [fraction for fraction, _ in taught[1]]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert taught[1][-1][1] == "logits of view 2 of 2"


def test_a_student_learns_from_it(taught: tuple[TeacherResult, list[tuple[float, str]]], digits: Dataset) -> None:
    training = TrainingConfig(epochs=20, batch_size=50)
    trainer = StudentTrainer(digits, student="cnn-small-narrow", teacher_logits=taught[0].logits[0], training=training)
    # alpha = 0: no label reaches the student, all that it knows is from the teacher
    assert trainer.train(DistillConfig(temperature=4, alpha=0), seed=0).val_accuracy > 0.6


def test_logits_are_taken_before_a_softmax_in_every_batch_and_view(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    model.save(tmp_path / "model.keras")
    logits = teacher_logits((tmp_path / "model.keras").read_bytes(), images, views=3)
    assert logits.shape == (3, 300, 3)
    for number in range(3):
        kernel, bias = model.layers[-1].get_weights()
        by_hand = view(images, number).reshape(300, -1) @ kernel + bias
        np.testing.assert_allclose(logits[number], by_hand, rtol=1e-3, atol=1e-2)


def test_bad_input_gets_one_line(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no baseline is called 'mobilenetv9'; allowed: autokeras"):
        teach_with("mobilenetv9", digits, budget=BUDGET, seed=0, work_dir=tmp_path)
    with pytest.raises(ValueError, match=r"views must be a whole number >= 1 .*, got 0"):
        teach_with("mobilenet", digits, budget=BUDGET, seed=0, work_dir=tmp_path, views=0)
    with pytest.raises(ModelError, match=r"not a \.keras file"):
        teacher_logits(b"logits", digits.train.images)

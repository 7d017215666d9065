"""bench/published.py, what it trains: jitter, smoothed labels, a transfer set without a digit, the same bits again."""

import math
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from support.published import pool
from support.published.learning import Learner, all_images, kept
from support.published.records import Result
from support.published.trainings import PublishedError, Size, Training, trainings_of

pytestmark = pytest.mark.training

SMALL = Size(
    seeds=1, teacher_seeds=1, unit_seeds={30: 1}, grid_seeds=1, teacher_epochs=2, student_epochs=2, stopped=(1,)
)


def small(training: Training) -> Training:
    """The same with the smallest network of its kind and more steps: a second on the digits of scikit-learn."""
    networks = {"dropout-1200": "dropout-300", "mlp-800": "mlp-30"}
    name = training.teacher.replace("dropout-1200", "dropout-300")
    network = networks.get(training.network, training.network)
    return replace(training, network=network, batch_size=32, teacher=name)


def same(first: Result, second: Result) -> bool:
    """Whether two lines are the same but for the seconds and the time of day."""
    kept_out = {"train_s", "cpu_s", "finished"}
    return all(
        getattr(first, one.name) == getattr(second, one.name) for one in fields(Result) if one.name not in kept_out
    )


def test_an_image_moves_by_what_was_drawn_and_zeros_come_in() -> None:
    from support.published.networks import moved

    image = np.arange(1, 26, dtype=np.float32).reshape(1, 5, 5, 1)
    moves = np.array([[2, 2], [0, 0], [4, 2], [1, 4]], np.int32)
    out = np.asarray(moved(np.repeat(image, 4, axis=0), moves, 2))[..., 0]
    plane = image[0, :, :, 0]
    assert (out[0] == plane).all()
    assert (out[1][2:, 2:] == plane[:3, :3]).all()
    assert out[1][:2].sum() == out[1][:, :2].sum() == 0
    assert (out[2][:3] == plane[2:]).all()
    assert out[2][3:].sum() == 0
    assert (out[3][1:, :3] == plane[:4, 2:]).all()


def test_jitter_draws_every_move_of_up_to_two_pixels_and_only_in_training() -> None:
    import keras

    from support.published.networks import JITTER, Jitter

    keras.utils.set_random_seed(1)
    layer = Jitter(JITTER)
    images = np.zeros((2000, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    assert (np.asarray(layer(images, training=False)) == images).all()
    places = {tuple(place) for place in np.argwhere(np.asarray(layer(images, training=True)))[:, 1:3].tolist()}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    again = np.argwhere(np.asarray(layer(images, training=True)))
    keras.utils.set_random_seed(1)
    assert (np.argwhere(np.asarray(Jitter(JITTER)(images, training=True))) != again).any(), "each step has its own"


def test_zero_logits_at_temperature_one_are_label_smoothing_to_a_constant() -> None:
    import keras

    from kd.training.losses import distillation_loss

    rng = np.random.default_rng(0)
    labels, smoothing = rng.integers(0, 10, 64), 0.1
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    for scale in (0.1, 1.0, 5.0):
        student = scale * rng.normal(size=(64, 10)).astype(np.float32)
        ours = distillation_loss(
            labels=labels,
            teacher_logits=np.zeros_like(student),
            student_logits=student,
            temperature=1.0,
            alpha=1 - smoothing,
        )
        theirs = smoothed(np.eye(10, dtype=np.float32)[labels], student)
        assert float(ours) + smoothing * math.log(10) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.slow
def test_two_runs_of_one_seed_give_the_same_line_whatever_was_trained_before(tmp_path: Path) -> None:
    dataset = all_images("digits")
    teacher, scratch, distilled = map(small, trainings_of("hinton-errors", SMALL))
    first = Learner(dataset, tmp_path / "first")
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    found = [first.train(one, teaches=one is teacher) for one in (teacher, scratch, distilled)]
    second = Learner(dataset, tmp_path / "second")
    second.train(scratch, teaches=False)
    second.train(replace(teacher, seed=5), teaches=False)  # moves dropout and jitter of the same compiled network
    again = [second.train(one, teaches=one is teacher) for one in (teacher, distilled, scratch)]
    assert all(map(same, found, (again[0], again[2], again[1])))
    for key in ("train", "test"):
        logits = [np.load(kept(tmp_path / name, teacher.name, 0))[key] for name in ("first", "second")]
        assert (logits[0] == logits[1]).all()
    other = second.train(replace(teacher, seed=6), teaches=False)
    assert other.errors != found[0].errors


@pytest.mark.slow
def test_a_transfer_set_without_a_digit_has_none_and_the_teacher_still_saw_it(tmp_path: Path) -> None:
    dataset = all_images("digits")
    teacher, soft, labelled = map(small, trainings_of("no-threes", SMALL))
    learner = Learner(dataset, tmp_path)
    taught = learner.train(replace(teacher, epochs=20), teaches=False)
    assert taught.threes < taught.errors
    learner.train(teacher, teaches=True)
    found = learner.train(replace(labelled, epochs=20), teaches=False)
    alone = learner.train(replace(labelled, epochs=20, alpha=1.0, teacher="", teacher_seed=-1), teaches=False)
    threes = int((dataset.validation.labels == 3).sum())
    assert found.train_images == int((dataset.train.labels != 3).sum()) < taught.train_images
    assert found.test_images == taught.test_images == len(dataset.validation)
    assert alone.threes == threes, "without the digit and a teacher, all of its images are wrong"
    assert 0 < found.threes < threes, "soft targets of other digits know what a 3 looks like"
    assert found.raised_threes is not None
    assert found.best_errors is not None
    assert found.raised_errors is not None
    assert found.raised_threes < found.threes
    assert found.best_errors <= min(found.errors, found.raised_errors)
    assert found.agreement is not None
    assert 0 < found.agreement < 1
    assert learner.train(soft, teaches=False).train_images == found.train_images


@pytest.mark.slow
def test_a_smoothed_teacher_is_less_sure(tmp_path: Path) -> None:
    dataset = all_images("digits")
    base = next(one for one in trainings_of("teachers", SMALL) if one.label_smoothing)
    learner = Learner(dataset, tmp_path)
    largest = []
    for smoothing in (0.0, base.label_smoothing):
        one = replace(base, network="mlp-300", batch_size=32, epochs=20, label_smoothing=smoothing)
        learner.train(one, teaches=True)
        logits = np.load(kept(tmp_path, one.name, one.seed))["train"]
        largest.append(np.exp(logits.max(axis=-1) - np.log(np.exp(logits).sum(axis=-1))).mean())
    hard, smooth = largest
    assert hard > 0.98
    assert smooth == pytest.approx(0.91, abs=0.03)  # 1 - 0.1 + 0.1 / 10, which the loss asks for


def test_a_student_without_its_teacher_is_refused_in_one_line(tmp_path: Path) -> None:
    student = small(trainings_of("hinton-errors", SMALL)[2])
    with pytest.raises(PublishedError, match=r"cannot read the teacher's logits: .*; to train it again, type: rm "):
        Learner(all_images("digits"), tmp_path).train(student, teaches=False)


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_give_the_lines_of_one_and_a_student_waits_for_its_teacher(tmp_path: Path) -> None:
    wanted = list(map(small, trainings_of("hinton-errors", SMALL)))
    teaching = {one.teacher_key for one in wanted if one.teacher}
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        found.append(dict(pool.train(wanted[::-1], teaching, folder, processes=processes, dataset="digits")))
    assert found[0].keys() == found[1].keys() == set(wanted)
    assert all(same(found[0][one], found[1][one]) for one in wanted)

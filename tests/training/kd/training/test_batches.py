"""Batches: every image once an epoch, with its own label and logits; no training."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kd.data.datasets import Dataset, Split
from kd.errors import DataError
from kd.training.batches import Batches, view

IMAGES, CLASSES, BATCH = 20, 3, 6
SPLIT = Split(
    np.random.default_rng(0).integers(1, 256, (IMAGES, 8, 8, 1), dtype=np.uint8), np.arange(IMAGES, dtype=np.int64) % 3
)
DATASET = Dataset(
    name="made up", train=SPLIT, validation=SPLIT, classes=CLASSES, content_hash="", split_hash="", origin="test"
)
LOGITS = np.arange(IMAGES * CLASSES, dtype=np.float32).reshape(IMAGES, CLASSES)


def epoch_of(batches: Batches, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the images, labels and logits of an epoch, batch by batch."""
    batches.shuffle(seed, epoch)
    take = batches.opened()
    parts = zip(*(take(tf.constant(step)) for step in range(batches.steps)), strict=True)
    images, labels, logits = (np.concatenate([np.asarray(part) for part in kind]) for kind in parts)
    return images, labels, logits


def test_an_epoch_shows_different_images_each_with_its_label_and_logits() -> None:
    batches = Batches(DATASET, LOGITS, BATCH)
    assert batches.steps == 3  # the last two images are dropped
    images, labels, logits = epoch_of(batches, 0, 0)
    rows = (logits[:, 0] / CLASSES).astype(int)
    assert len(set(rows)) == 18
    np.testing.assert_array_equal(images, SPLIT.images[rows])
    np.testing.assert_array_equal(labels, SPLIT.labels[rows])
    np.testing.assert_array_equal(logits, LOGITS[rows])


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    first, second = Batches(DATASET, LOGITS, BATCH), Batches(DATASET, None, BATCH)
    np.testing.assert_array_equal(epoch_of(first, 5, 1)[0], epoch_of(second, 5, 1)[0])
    assert not np.array_equal(epoch_of(first, 5, 1)[1], epoch_of(first, 5, 2)[1])
    assert not np.array_equal(epoch_of(first, 5, 1)[1], epoch_of(first, 6, 1)[1])


def test_the_epochs_take_turns_with_the_views_and_their_logits() -> None:
    batches = Batches(DATASET, np.stack([LOGITS, LOGITS + 1000]), BATCH, views=2)
    for epoch in range(4):
        images, _, logits = epoch_of(batches, 0, epoch)
        number = epoch % 2
        rows = ((logits[:, 0] - 1000 * number) / CLASSES).astype(int)
        np.testing.assert_array_equal(images, view(SPLIT.images, number)[rows])
    batches.teach(np.stack([LOGITS, LOGITS + 2000]))
    assert (epoch_of(batches, 0, 3)[2] >= 2000).all(), "replaced logits apply at once, in every view"


def test_logits_can_be_replaced_and_wrong_ones_are_refused() -> None:
    batches = Batches(DATASET, None, BATCH)
    assert not batches.has_teacher
    assert not epoch_of(batches, 0, 0)[2].any()
    batches.teach(LOGITS)
    assert batches.has_teacher
    for wrong in (LOGITS[:5], LOGITS[:, :2], np.full_like(LOGITS, np.nan), np.stack([LOGITS, LOGITS])):
        with pytest.raises(DataError, match=r"teacher logits must be finite and of shape \(20, 3\) for made up"):
            batches.teach(wrong)
    assert epoch_of(batches, 0, 0)[2].any()


@pytest.mark.parametrize("logits", [LOGITS, np.stack([LOGITS] * 2), np.stack([LOGITS] * 3, axis=1)])
def test_logits_of_other_views_are_refused_in_one_line_that_names_the_views(logits: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"^teacher .* of shape \(3, 20, 3\) for made up, got \(.*\): .* with views=3$"):
        Batches(DATASET, logits, BATCH, views=3)
    with pytest.raises(
        DataError, match=r"of shape \(20, 3\) for made up, got \(3, 20, 3\): train the teacher on the same"
    ):
        Batches(DATASET, np.stack([LOGITS] * 3), BATCH)


def test_fewer_images_than_a_batch_are_refused() -> None:
    few = dataclasses.replace(DATASET, train=Split(SPLIT.images[:5], SPLIT.labels[:5]))
    with pytest.raises(DataError, match="5 training images are fewer than one batch of 6"):
        Batches(few, None, BATCH)

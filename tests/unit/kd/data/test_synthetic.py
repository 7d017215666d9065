"""digits and digits-rgb: made here, the same everywhere, no download."""

import numpy as np
import pytest

from kd.data import known
from kd.data.datasets import load, load_test
from kd.errors import DataError

HASHES = {
    "digits": "55acb6a991811dddcf52ab350b0606471ebccac0cbf3cad2442eba6ef0be1f33",
    "digits-rgb": "ff4033e7021036f5cb6cb08e8268b5ac5cc2521992c75a3177c6809865cd42da",
}


@pytest.mark.parametrize(("name", "shape"), [("digits", (28, 28, 1)), ("digits-rgb", (32, 32, 3))])
def test_generated_datasets_split_60_20_20_and_keep_their_content(name: str, shape: tuple[int, ...]) -> None:
    dataset, test = load(name), load_test(name)
    assert (len(dataset.train), len(dataset.validation), len(test)) == (1079, 359, 359)
    assert dataset.input_shape == shape
    assert test.images.shape[1:] == shape
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int64
    assert dataset.origin == "scikit-learn"
    # A new hash means new data under an old name: results of old sweeps would no longer be comparable.
    assert dataset.content_hash == HASHES[name]


@pytest.mark.slow  # importing scikit-learn
def test_digits_are_scikit_learns_digits_enlarged_without_loss() -> None:
    from sklearn.datasets import load_digits

    samples = load_digits()
    made = known.make("digits")
    images = np.concatenate([made.x_train, made.x_test])
    labels = np.concatenate([made.y_train, made.y_test])
    assert images.max() == 255
    assert not images[:, :2].any()
    assert not images[:, :, -2:].any()
    # Undo the enlarging (every third pixel inside the border) and the scaling: the samples, in another order.
    levels = np.arange(17) * 255 // 16
    small = np.searchsorted(levels, images[:, 2:26:3, 2:26:3, 0]).reshape(len(images), -1)
    ours = np.column_stack([small, labels])
    theirs = np.column_stack([samples.data.astype(int), samples.target])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_rgb_holds_the_same_digits_in_the_same_order() -> None:
    plain, colour = known.make("digits"), known.make("digits-rgb")
    assert np.array_equal(plain.y_train, colour.y_train)
    assert np.array_equal(plain.y_test, colour.y_test)


def test_digits_rgb_is_the_absolute_difference_of_a_photograph_and_the_digit() -> None:
    plain, colour = known.make("digits"), known.make("digits-rgb")
    photographs = [known._photograph(name).astype(np.int16) for name in ("china.jpg", "flower.jpg")]
    image = colour.x_test[0].astype(np.int16)
    digit = np.kron(plain.x_test[0, 2:26:3, 2:26:3, 0], np.ones((4, 4), np.int16))[..., np.newaxis]
    dark = digit[..., 0] == 0  # there, the photograph shows unchanged
    row, column = np.argwhere(dark)[0]
    found = False
    for photograph in photographs:
        matches = np.argwhere((photograph == image[row, column]).all(axis=-1))
        for y, x in matches - (row, column):
            patch = photograph[max(y, 0) : y + 32, max(x, 0) : x + 32]
            if patch.shape == image.shape and np.array_equal(np.abs(patch - digit), image):
                found = True
    assert found


def test_what_is_made_once_cannot_be_changed_for_who_comes_later() -> None:
    made = known.make("digits")
    assert known.make("digits") is made
    with pytest.raises(ValueError, match="read-only"):
        made.x_train[0] = 0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known.make.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load("digits")

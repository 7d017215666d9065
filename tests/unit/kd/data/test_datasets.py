"""Splits, hashes, generated datasets, files of users, and the errors for bad ones."""

import ast
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import kd
from kd.data.datasets import NAMES, content_hash, contents, load, load_test
from kd.data.known import KNOWN_DATASETS, make
from kd.errors import DataError

Raw = dict[str, npt.NDArray[Any]]


def made_up(*, images: int = 60, tests: int = 12, classes: int = 3, shape: tuple[int, ...] = (8, 9)) -> Raw:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (images, *shape), dtype=np.uint8),
        "y_train": np.arange(images) % classes,
        "x_test": rng.integers(0, 256, (tests, *shape), dtype=np.uint8),
        "y_test": np.arange(tests) % classes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write arrays to an .npz file and return its path, the name of the dataset."""

    def write_file(arrays: Raw, name: str = "own.npz") -> str:
        np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
        return str(tmp_path / name)

    return write_file


def shares(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.bincount(labels) / len(labels)


def test_mnist_splits_50k_10k_10k_stratified_without_overlap_or_loss(shared_data: Path) -> None:
    dataset, test = load("mnist", data_dir=shared_data), load_test("mnist", data_dir=shared_data)
    assert dataset.train.images.shape == (50_000, 28, 28, 1)
    assert dataset.validation.images.shape == (10_000, 28, 28, 1)
    assert test.images.shape == (10_000, 28, 28, 1)
    assert dataset.train.labels.shape == (50_000,)
    assert dataset.classes == 10
    assert dataset.origin == f"--data: {shared_data / 'mnist.npz'}"
    whole = shares(np.concatenate([dataset.train.labels, dataset.validation.labels]))
    assert shares(dataset.validation.labels) == pytest.approx(whole, abs=1.5e-4)
    assert shares(dataset.train.labels[:20_000]) == pytest.approx(whole, abs=1e-4)
    with np.load(shared_data / "mnist.npz") as official:
        expected = {hash(image.tobytes()) for image in official["x_train"]}
    train, validation = (
        {hash(image.tobytes()) for image in split.images} for split in (dataset.train, dataset.validation)
    )
    assert train | validation == expected
    assert not train & validation


def test_fewer_training_images_are_the_first_ones_and_validation_stays_the_same(write: Callable[..., str]) -> None:
    name = write(made_up())
    whole, part = (load(name, train_images=n) for n in (None, 10))
    assert np.array_equal(part.train.images, whole.train.images[:10])
    assert np.array_equal(part.train.labels, whole.train.labels[:10])
    assert np.array_equal(part.validation.images, whole.validation.images)
    assert part.content_hash == whole.content_hash
    assert part.split_hash != whole.split_hash


def test_the_content_hash_of_official_datasets_is_known_without_reading_them(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_a_file = content_hash(str(shared_data / "mnist.npz"))
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path))
    assert content_hash("mnist") == KNOWN_DATASETS["mnist"].content_hash == as_a_file
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_training_images_is_known_before_loading(write: Callable[..., str]) -> None:
    assert contents("mnist").training_images == 50_000
    assert contents("cifar10").training_images == 45_000
    for name in ("digits", write(made_up())):
        assert contents(name).training_images == len(load(name).train)


MADE_HERE = {
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
    assert dataset.content_hash == MADE_HERE[name]


def test_generated_arrays_are_shared_and_read_only() -> None:
    arrays = make("digits")
    assert make("digits") is arrays
    with pytest.raises(ValueError, match="read-only"):
        arrays.x_train[0] = 0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    make.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load("digits")


def test_a_file_gives_a_tenth_to_validation_and_adds_the_channel(write: Callable[..., str]) -> None:
    dataset = load(write(made_up()))
    assert dataset.train.images.shape == (54, 8, 9, 1)
    assert dataset.validation.images.shape == (6, 8, 9, 1)
    assert dataset.validation.labels.tolist().count(0) == 2
    assert dataset.classes == 3


def test_the_same_file_in_another_folder_is_the_same_split(write: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    original, moved = load(write(made_up())), load(write(made_up(), "elsewhere/own.npz"))
    assert original.split_hash == moved.split_hash


def test_a_dataset_holds_no_test_image(write: Callable[..., str]) -> None:
    arrays = made_up()
    name = write(arrays)
    dataset = load(name)
    seen = {image.tobytes() for split in (dataset.train, dataset.validation) for image in split.images}
    assert not seen & {image.tobytes() for image in arrays["x_test"]}
    assert np.array_equal(load_test(name).images[..., 0], arrays["x_test"])
    assert {"test", "x_test", "y_test"}.isdisjoint(vars(dataset))


@pytest.mark.parametrize("images", [2, 55, 0, -1])
def test_train_images_out_of_range_gives_the_allowed_range(write: Callable[..., str], images: int) -> None:
    with pytest.raises(DataError, match=rf"train_images={images} .* 3 \(one per class\) to 54"):
        load(write(made_up()), train_images=images)


def test_a_class_with_one_image_trains(write: Callable[..., str]) -> None:
    arrays = made_up()
    arrays["y_train"] = np.array([0] * 40 + [1] * 19 + [2])
    assert 2 in load(write(arrays), train_images=3).train.labels


def without(key: str) -> Raw:
    return {name: array for name, array in made_up().items() if name != key}


def with_(**changes: npt.NDArray[Any]) -> Raw:
    return {**made_up(), **changes}


def floats(wrong: float) -> Raw:
    raw = {key: array / 255 if key[0] == "x" else array for key, array in made_up().items()}
    raw["x_train"][0, 0, :2] = [wrong, 1]
    raw["x_train"][0, 1, 0] = 0
    return raw


BAD = {
    "a missing key": (without("y_train"), "lacks y_train"),
    "float images": (with_(x_train=np.zeros((60, 8, 9))), "x_train is float64 and x_test is uint8; give both the same"),
    "flat images": (with_(x_train=np.zeros((60, 72), np.uint8)), r"x_train has shape \(60, 72\)"),
    "four channels": (made_up(shape=(8, 8, 4)), r"shape \(60, 8, 8, 4\); allowed"),
    "tiny images": (made_up(shape=(7, 8)), "8x8 or larger"),
    "no images": (made_up(images=0), "x_train holds no image"),
    "no test images": (made_up(tests=0), "x_test holds no image"),
    "other test images": (with_(x_test=np.zeros((12, 8, 8), np.uint8)), "must be the same"),
    "test images alone": (without("y_test"), "has x_test and no y_test; give both"),
    "test labels alone": (without("x_test"), "has y_test and no x_test; give both"),
    "pixels beyond 255": (floats(256.0), r"x_train is float64 from 0 to 256; images must be whole numbers 0\.\.255"),
    "pixels below 0": (floats(-0.5), r"from -0\.5 to 1; images must be"),
    "pixels beyond 1 that are not whole": (floats(1.5), r"from 0 to 1\.5; images must be"),
    "pixels that are not numbers": (floats(np.nan), "x_train has NaN or infinite pixels"),
    "pixels of 16 bits": (
        {key: array.astype(np.uint16) * (257 if key[0] == "x" else 1) for key, array in made_up().items()},
        r"x_train is uint16 from \d+ to 65535",
    ),
    "complex pixels": (
        with_(x_train=np.zeros((60, 8, 9), complex), x_test=np.zeros((12, 8, 9), complex)),
        "x_train is complex128; images must be uint8",
    ),
    "labels with halves": (with_(y_train=np.arange(60) % 3 + 0.5), r"y_train has label 0\.5; labels must be whole"),
    "labels that are not numbers": (with_(y_train=np.full(60, np.nan)), "y_train has NaN or infinite labels"),
    "labels of words": (with_(y_train=np.array(["cat"] * 60)), "y_train is <U3; labels must be whole numbers"),
    "soft labels": (with_(y_train=np.full((60, 3), 1 / 3)), r"y_train has label 0\.333333; .* or one-hot"),
    "boolean labels": (with_(y_train=np.zeros(60, bool)), "labels must be integers"),
    "one-hot labels": (with_(y_train=np.zeros((60, 3), int)), r"y_train has shape \(60, 3\) and is not one-hot"),
    "too few labels": (with_(y_train=np.arange(59) % 3), "allowed for 60 images"),
    "negative labels": (with_(y_train=np.arange(60) % 3 - 1), "label -1; labels must be"),
    "huge labels": (with_(y_train=np.full(60, 2**63, np.uint64)), "label 9223372036854775808"),
    "an absent class": (with_(y_train=np.arange(60) % 2 * 2), "no image of class 1"),
    "a class that starts at 1": (with_(y_train=np.arange(60) % 3 + 1), "no image of class 0"),
    "one class": (with_(y_train=np.zeros(60, int), y_test=np.zeros(12, int)), "one class only"),
    "an unseen test label": (with_(y_test=np.full(12, 3)), r"y_test has label 3.* 0\.\.2"),
    "objects": (with_(y_train=np.array([{}] * 60)), "cannot be read: Object arrays cannot be loaded"),
    "nothing left to train": (made_up(images=3), "too few to train and validate"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_gives_a_one_line_error(write: Callable[..., str], arrays: Raw, message: str) -> None:
    name = write(arrays)
    with pytest.raises(DataError, match=message) as caught:
        load(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_or_shortened_file_gives_a_one_line_error(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "own.npz"
    save(path, **made_up())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        load(str(path))
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with contextlib.suppress(DataError):  # a byte that does not matter is fine; any other error is not
            load(str(path))


@pytest.mark.parametrize(("name", "meant"), [("minst", "mnist"), ("CIFAR10", "cifar10"), ("digits_rgb", "digits-rgb")])
def test_an_unknown_name_gets_a_suggestion_and_the_allowed_names(name: str, meant: str) -> None:
    with pytest.raises(DataError, match=rf"no dataset '{name}'; did you mean '{meant}'\? Allowed: mnist, ") as e:
        load(name)
    assert all(known in str(e.value) for known in NAMES)


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(DataError, match=r"no dataset 'imagenet'\. Allowed: mnist, "):
        content_hash("imagenet")


def test_every_public_name_has_a_module_and_an_unknown_name_is_an_error() -> None:
    assert sorted(kd.__all__) == sorted(kd._HOME)
    assert kd.load is load
    assert set(kd.__all__) <= set(dir(kd))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        kd.lode  # noqa: B018


def test_every_public_name_is_defined_where_kd_looks_for_it() -> None:
    for name, module in kd._HOME.items():  # read, not imported: that would import TensorFlow
        path = Path(kd.__path__[0], *module.split(".")[1:]).with_suffix(".py")
        defined = {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}
        assert name in defined, f"{name} in {path}"

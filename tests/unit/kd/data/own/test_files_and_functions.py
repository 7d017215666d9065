"""Arrays of users, from an .npz file or a function."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kd.data import custom
from kd.data.datasets import contents, load, load_test
from kd.data.images import normalize
from kd.errors import DataError, DataNotHere
from kd.tools import code

Raw = dict[str, npt.NDArray[Any]]


def made_up() -> Raw:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (60, 8, 9), dtype=np.uint8),
        "y_train": np.arange(60) % 3,
        "x_test": rng.integers(0, 256, (12, 8, 9), dtype=np.uint8),
        "y_test": np.arange(12) % 3,
    }


def written(path: Path, arrays: Raw) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def images(arrays: Raw, change: Any) -> Raw:
    return {key: change(array) if key[0] == "x" else array for key, array in arrays.items()}


def labels(arrays: Raw, change: Any) -> Raw:
    return {key: change(array) if key[0] == "y" else array for key, array in arrays.items()}


@pytest.mark.parametrize(
    ("arrays", "notes"),
    [
        (images(made_up(), lambda x: x[..., None]), ()),
        (images(made_up(), lambda x: x.astype(np.int64)), ()),
        (images(made_up(), lambda x: x.astype(np.float32)), ()),
        (
            images(made_up(), lambda x: (x / 255).astype(np.float32)),
            ("x_train and x_test: float32 in [0, 1], taken as round(255 x)",),
        ),
        (images(made_up(), lambda x: x / 255), ("x_train and x_test: float64 in [0, 1], taken as round(255 x)",)),
        (labels(made_up(), lambda y: y.astype(np.float32)), ()),
        (labels(made_up(), lambda y: np.eye(3)[y]), ()),
        (labels(made_up(), lambda y: np.eye(3, dtype=bool)[y]), ()),
        (labels(made_up(), lambda y: y[:, None].astype(np.uint8)), ()),
    ],
    ids=["a channel axis", "int64", "whole floats", "float32", "float64", "float labels", "one-hot", "bool", "column"],
)
def test_other_forms_of_the_same_arrays_are_the_same_dataset(tmp_path: Path, arrays: Raw, notes: tuple[str]) -> None:
    plain = contents(written(tmp_path / "plain.npz", made_up()))
    summary = contents(written(tmp_path / "own.npz", arrays))
    assert (summary.content_hash, summary.notes) == (plain.content_hash, notes)


def test_half_a_grey_level_rounds_to_the_even_level_and_white_is_255(tmp_path: Path) -> None:
    arrays = images(made_up(), lambda x: np.zeros(x.shape))
    arrays["x_test"][0, 0, :4] = [0.5 / 255, 1.5 / 255, 1.0, 100.4 / 255]
    name = written(tmp_path / "own.npz", arrays)
    assert load_test(name).images[0, 0, :4, 0].tolist() == [0, 2, 255, 100]


def test_without_a_test_part_a_sixth_is_held_out_the_same_in_any_order(tmp_path: Path) -> None:
    arrays = {key: array for key, array in made_up().items() if key.endswith("train")}
    order = np.random.default_rng(1).permutation(60)
    first = written(tmp_path / "own.npz", arrays)
    second = written(tmp_path / "shuffled.npz", {key: array[order] for key, array in arrays.items()})
    summary = contents(first)
    assert (summary.training_images, summary.validation_images, summary.test_images) == (45, 5, 10)
    assert summary.notes == ("no test set found: 10 of 60 images are held out as one (the same ones every time)",)
    tests = [{image.tobytes() for image in load_test(name).images} for name in (first, second)]
    assert tests[0] == tests[1]
    assert len(tests[0]) == 10


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            (),
            r"class 0 has 1 image, as 2 of the others have, too few .*; give 2 or more of each class, or a test part$",
        ),
        (("daisy", "rose", "tulip"), r"class 0 \(daisy\) has 1 image, as 2 of the others have, too few"),
    ],
)
def test_a_class_that_would_lose_its_only_image_to_the_test_part_is_named(names: tuple[str, ...], text: str) -> None:
    with pytest.raises(DataError, match=rf"^mine: {text}"):
        normalize({"x_train": np.zeros((3, 8, 8), np.uint8), "y_train": np.arange(3)}, "mine", names)
    two_each = {"x_train": np.zeros((6, 8, 8), np.uint8), "y_train": np.arange(6) % 3}
    assert normalize(two_each, "mine", names)[0].classes == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x_train": np.zeros((60, 8), np.uint8)}, r"x_train has shape \(60, 8\); allowed: \(n, h, w\)"),
        ({"x_train": np.array(0, np.uint8)}, r"x_train has shape \(\); allowed"),
        ({"y_train": np.arange(59)}, r"y_train has shape \(59,\); allowed for 60 images"),
        ({"y_train": np.zeros((60, 2, 2), np.int64)}, r"y_train has shape \(60, 2, 2\); allowed for 60 images"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.zeros(0, int)}, "x_train holds no image"),
    ],
)
def test_without_a_test_part_errors_name_the_arrays_as_given(changes: Raw, text: str) -> None:
    arrays = {key: array for key, array in made_up().items() if key.endswith("train")}
    with pytest.raises(DataError, match=rf"^mine: {text}"):
        normalize(arrays | changes, "mine")


def test_a_file_is_read_again_only_after_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = written(tmp_path / "own.npz", made_up())
    first = contents(name)
    with monkeypatch.context() as without:
        without.setattr(custom, "raw_npz", None)  # calling it would fail
        assert contents(name) == first
    written(tmp_path / "own.npz", labels(made_up(), lambda y: y[::-1]))
    assert contents(name).content_hash != first.content_hash


def test_only_a_folder_takes_a_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a folder of images takes a size; arrays of a file"):
        contents(written(tmp_path / "own.npz", made_up()), size=(8, 8))


SOURCE = """
import numpy as np
import sys

CALLS = []
x, y = np.zeros((60, 8, 9), np.uint8), np.arange(60) % 3
x[:, 0, 0] = y

def load():
    CALLS.append(1)
    return (x, y), (x[:12], y[:12])

def as_dict():
    return {"x_train": x, "y_train": y, "x_test": x[:12], "y_test": y[:12]}

def without_test():
    return {"x_train": x, "y_train": y}

def needs_a_path(path):
    return load()

def raises():
    raise OSError("the disk with the images is not mounted")

def exits():
    sys.exit(0)

def three():
    return x, y, x

def nothing():
    pass

def lacks():
    return {"x_train": x}

def ragged():
    return ([[1], [1, 2]], y), (x, y)

def mismatched():
    return (x[:59], y), (x, y)

def huge():
    return (np.broadcast_to(np.uint8(1), (10**9, 64, 64, 3)), y), (x, y)

def huge_dict():
    return {"x_train": np.broadcast_to(np.uint8(1), (10**9, 64, 64, 3)), "y_train": y}

def objects():
    return (np.array([{}] * 60), y), (x, y)

NUMBER = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_data.py"
    path.write_text(SOURCE)
    return path


def test_pairs_and_a_dict_are_the_same_dataset(own: Path) -> None:
    dataset = load(f"{own}:load")
    assert dataset.origin == f"function: {own}"
    assert len(dataset.train) + len(dataset.validation) == 60
    assert dataset.train.labels.tolist() == dataset.train.images[:, 0, 0, 0].tolist()
    assert contents(f"{own}:load").content_hash == contents(f"{own}:as_dict").content_hash
    assert contents(f"{own}:without_test").test_images == 10


def test_a_function_is_called_once_per_process(own: Path) -> None:
    name = f"{own}:load"
    contents(name), load(name), load_test(name)
    assert code.load(f"{own}:CALLS") == [1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("needs_a_path", r"is called without arguments, but takes \(path\)"),
        ("raises", "raises OSError: the disk with the images is not mounted"),
        ("exits", r"calls sys\.exit\(0\); let it return \(\(x_train, y_train\)"),
        ("three", "returns tuple of 3; return"),
        ("nothing", "returns NoneType; return"),
        ("lacks", "returns a dict without y_train; return"),
        ("ragged", "raises ValueError: setting an array element"),
        ("objects", "x_train is ndarray of objects; allowed: arrays of numbers"),
        ("huge", r"holds 12\.29 TB of arrays, and this machine has .* of memory; give fewer or smaller images"),
        ("huge_dict", r"holds 12\.29 TB of arrays, and this machine has .* of memory; give fewer or smaller images"),
        ("mismatched", r"y_train has shape \(60,\); allowed for 59 images"),
        ("NUMBER", "must be a function without arguments, got int"),
        ("absent", r"cannot import dataset .*has no attribute 'absent'\. Write \./file\.py:function"),
    ],
)
def test_a_function_that_returns_no_dataset_gives_a_one_line_error(own: Path, function: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        contents(f"{own}:{function}")
    assert "\n" not in str(caught.value)
    assert f"{own}:{function}" in str(caught.value)


def test_missing_code_is_a_fault_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(DataNotHere, match="cannot import dataset 'no_such:load' here: No module named 'no_such'"):
        contents("no_such:load")
    with pytest.raises(DataNotHere, match=r"none\.py: No such file.*KD_SWEEPS_CODE=FOLDER"):
        contents(f"{tmp_path}/none.py:load")

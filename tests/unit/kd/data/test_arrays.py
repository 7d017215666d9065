"""Hashes of a dataset, and files that are too large or no files; other bad files are in test_datasets.py."""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kd.data import arrays
from kd.data.arrays import KEYS, check_size, checked, content_hash_of, read_idx, read_npz
from kd.errors import DataError
from kd.teachers import logits_file

Raw = dict[str, npt.NDArray[Any]]


def raw(shape: tuple[int, ...] = (8, 32)) -> Raw:
    images = np.random.default_rng(0).integers(0, 256, (30, 256), dtype=np.uint8)
    labels = np.arange(30) % 3
    return {
        "x_train": images[:20].reshape(20, *shape),
        "y_train": labels[:20],
        "x_test": images[20:].reshape(10, *shape),
        "y_test": labels[20:],
    }


def test_the_hash_of_an_array_is_that_of_its_raw_bytes() -> None:
    arrays = checked(raw(), "made up")
    assert arrays.hashes["x_train"] == hashlib.sha256(raw()["x_train"].tobytes()).hexdigest()
    assert arrays.hashes["y_test"] == hashlib.sha256(raw()["y_test"].astype(np.uint8).tobytes()).hexdigest()


def test_the_content_hash_depends_on_shape_and_content_but_not_on_the_integer_type() -> None:
    same = checked(raw(), "made up").content_hash
    assert same == content_hash_of(checked(raw(), "made up").hashes, (8, 32, 1))
    assert checked(raw() | {"y_train": raw()["y_train"].astype(np.uint8)}, "made up").content_hash == same
    assert checked(raw((16, 16)), "made up").content_hash != same  # the same bytes
    swapped = raw()["x_train"].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert checked(raw() | {"x_train": swapped}, "made up").content_hash != same


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "own.npz", **raw())  # type: ignore[arg-type]
    assert read_npz(tmp_path / "own.npz").content_hash == checked(raw(), "made up").content_hash
    with pytest.raises(DataError, match=r"is a folder, not a file; give the path of an \.npz file"):
        read_npz(tmp_path)


def test_a_decompression_bomb_is_refused_but_only_the_arrays_to_be_read_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "HARMLESS_BYTES", 2**20)  # the real limit, 256 MiB, would take a second to write
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, x_train=np.zeros(2**24, np.uint8))
    check_size(bomb, keys=("y_train",))
    with pytest.raises(DataError, match=r"of \d+\.?\d* KB would unpack to 16\.78 MB, more than 200 times its size"):
        check_size(bomb)
    for read in (read_npz, logits_file.read):
        with pytest.raises(DataError, match="would unpack"):
            read(bomb)


def test_a_file_too_large_for_memory_gives_an_error_with_the_memory_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "own.npz", x_train=np.zeros(5_000_000, np.uint8))
    check_size(tmp_path / "own.npz")
    monkeypatch.setattr(arrays, "memory_bytes", lambda: 4_000_000)
    with pytest.raises(DataError, match="holds 5 MB of arrays, and this machine has 4 MB of memory"):
        check_size(tmp_path / "own.npz")


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path, version: tuple[int, int]) -> None:
    write = {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version]
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as file, file.open("x_train.npy", "w") as out:
        write(out, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
        out.write(b"short")
    with pytest.raises(DataError, match=r"x_train\.npy claims 8 TB, but holds \d+ bytes"):
        check_size(tmp_path / "lies.npz")


def test_images_that_compress_well_are_accepted(tmp_path: Path) -> None:
    few = {key: np.zeros((4_000, 28, 28) if key[0] == "x" else 4_000, np.uint8) for key in KEYS}
    for key in ("y_train", "y_test"):
        few[key][::2] = 1
    np.savez_compressed(tmp_path / "own.npz", **few)  # type: ignore[arg-type]
    assert (tmp_path / "own.npz").stat().st_size < 2 * 4_000 * 28 * 28 / arrays.MOST_TIMES
    assert len(read_npz(tmp_path / "own.npz").x_train) == 4_000


def test_a_path_that_is_not_a_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.npz")  # opening it would block forever
    for path, what in (
        (tmp_path / "fifo.npz", "is a FIFO, not a file"),
        (tmp_path, "is a folder, not a file"),
        (Path("/dev/null"), "is a device, not a file"),
        (tmp_path / "none.npz", "does not exist"),
        (tmp_path / "fifo.npz" / "below", "cannot be read: Not a directory"),
    ):
        with pytest.raises(DataError, match=what) as error:
            read_npz(path)
        assert all(key in str(error.value) for key in KEYS)
        with pytest.raises(DataError, match=f"cannot read the logits .*: it {what}"):
            logits_file.read(path)


def test_an_idx_file_is_read_by_its_format() -> None:
    assert read_idx(b"\0\0\x08\x01\0\0\0\x03abc").tolist() == [97, 98, 99]
    assert read_idx(b"\0\0\x08\x02\0\0\0\x01\0\0\0\x02ab").tolist() == [[97, 98]]

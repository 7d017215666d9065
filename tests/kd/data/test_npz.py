"""An .npz file is looked at before it is unpacked: bombs, lies, and what is no file."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kd.data import arrays
from kd.data.arrays import KEYS, check_size, read_npz
from kd.errors import DataError
from kd.teachers import logits_file


def bomb(path: Path, key: str, count: int) -> Path:
    """A file of `count` zeros, which shrink to a thousandth."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open(f"{key}.npy", "w", force_zip64=True) as out,
    ):
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (count,)})
        zeros = bytes(2**20)
        for _ in range(count // 2**20):
            out.write(zeros)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bomb(tmp_path_factory.mktemp("bomb") / "bomb.npz", "x_train", 2**29)


def test_a_bomb_is_refused_before_it_is_unpacked(large: Path) -> None:
    assert large.stat().st_size < 600_000
    with pytest.raises(DataError, match=r"of \d+\.?\d* KB would unpack to 536\.9 MB, more than 200 times its size"):
        check_size(large)
    with pytest.raises(DataError, match="would unpack"):
        logits_file.read(large)


def test_only_what_is_to_be_read_counts(large: Path) -> None:
    check_size(large, keys=("y_train",))
    with pytest.raises(DataError, match="would unpack"):
        read_npz(large)


def test_a_file_that_does_not_fit_into_memory_says_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "own.npz", x_train=np.zeros(5_000_000, np.uint8))
    check_size(tmp_path / "own.npz")
    monkeypatch.setattr(arrays, "memory_bytes", lambda: 4_000_000)
    with pytest.raises(DataError, match="holds 5 MB of arrays, and this machine has 4 MB of memory"):
        check_size(tmp_path / "own.npz")


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_promises_more_than_is_there_is_refused(tmp_path: Path, version: tuple[int, int]) -> None:
    write = {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version]
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as file, file.open("x_train.npy", "w") as out:
        write(out, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
        out.write(b"short")
    with pytest.raises(DataError, match=r"x_train\.npy says 8 TB, but holds \d+ bytes"):
        check_size(tmp_path / "lies.npz")


def test_drawings_that_shrink_a_lot_are_taken(tmp_path: Path) -> None:
    labels = np.arange(40_000) % 10
    few = {"x_train": np.zeros((40_000, 28, 28), np.uint8), "x_test": np.zeros((40_000, 28, 28), np.uint8)}
    np.savez_compressed(tmp_path / "own.npz", **few, y_train=labels, y_test=labels)  # type: ignore[arg-type]
    assert len(read_npz(tmp_path / "own.npz").x_train) == 40_000


def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.npz")  # opening it would wait for ever
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

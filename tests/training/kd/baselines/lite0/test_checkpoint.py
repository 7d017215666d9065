"""The checkpoint reader: tensors as they were saved, and nothing at all of any other file."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kd.baselines import lite0
from kd.baselines.lite0 import read_checkpoint
from tests.support.torch_files import saved

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    "bn.num_batches_tracked": np.array(7),
    "bn.weight": np.linspace(-1, 1, 5, dtype=np.float32),
}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Write a file as if it were the one that the reader is pinned to."""

    def write(data: bytes) -> Path:
        monkeypatch.setattr(lite0, "SHA256", hashlib.sha256(data).hexdigest())
        path = tmp_path / "checkpoint.pth"
        path.write_bytes(data)
        return path

    return write


def test_tensors_come_back_with_their_names_shapes_types_and_values(published: Callable[[bytes], Path]) -> None:
    found = read_checkpoint(published(saved(ARRAYS)))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.writeable
    assert not found["conv.weight"].flags.c_contiguous  # as it was saved


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>please log in</html>", saved(ARRAYS), saved(ARRAYS)[:-1], pickle.dumps(_Harmful())],
    ids=["empty", "login page", "other tensors", "cut short", "hostile pickle"],
)
def test_another_file_is_refused_in_one_line_before_anything_in_it_is_read(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lite0, "_Unpickler", None)  # whoever used it would get a TypeError
    (tmp_path / "checkpoint.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"^not the published file: sha256 [0-9a-f]{12}\.\.\., not 5793"):
        read_checkpoint(tmp_path / "checkpoint.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_even_in_the_published_file_no_other_name_would_be_imported(
    published: Callable[[bytes], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError):
        read_checkpoint(published(pickle.dumps(_Harmful(), 2)))
    assert not (tmp_path / "canary").exists()

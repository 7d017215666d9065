"""Local folders: the cache's round trip, its lock, and the folder that the user names."""

from pathlib import Path

import pytest

from kd.data import cache as cache_module
from kd.data.cache import cache_dir, cached_path, locked, named_folder, read_cached, work_folder
from kd.errors import DataError
from tests.kd.data.test_known import ARRAYS, KNOWN


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)
    monkeypatch.setattr(cache_module, "KNOWN_DATASETS", {"small": KNOWN})
    return cache_dir()


def store() -> Path:
    with locked("small"), work_folder("small") as folder:
        return cache_module.store("small", ARRAYS, Path(folder))


def test_what_is_stored_is_read_back_bit_for_bit(cache: Path) -> None:
    assert store() == cached_path("small") == cache / "small.npz"
    assert read_cached("small").content_hash == ARRAYS.content_hash
    assert sorted(path.name for path in cache.iterdir()) == ["small.lock", "small.npz"]  # no work folder is left


def test_a_damaged_file_in_the_cache_is_not_used() -> None:
    path = store()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"small\.npz"):
        read_cached("small")


def test_the_lock_removes_what_killed_writers_left_behind(cache: Path) -> None:
    (cache / ".small-left").mkdir(parents=True)
    (cache / ".other-left").mkdir()
    with locked("small"):
        assert not (cache / ".small-left").exists()
        assert (cache / ".other-left").exists()


def test_the_option_comes_before_the_variable_and_must_be_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named_folder(None) is None
    monkeypatch.setenv("KD_SWEEPS_DATA", str(tmp_path))
    assert named_folder(None) == ("KD_SWEEPS_DATA", tmp_path)
    with pytest.raises(DataError, match=r"--data: .*missing does not exist; give a folder that holds mnist\.npz"):
        named_folder(tmp_path / "missing")

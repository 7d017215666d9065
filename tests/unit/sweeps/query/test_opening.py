"""Opening a sweep: by text or URL, for reading or writing."""

from pathlib import Path

import pytest

from storage.errors import NotAStorage, SweepNotFound
from storage.queue import workers
from storage.records import queries
from storage.url import resolve
from sweeps.errors import SpecError
from sweeps.query.listing import open_sweep
from tests.support.sweeps.small_sweeps import created


def test_a_sweep_is_opened_by_text_by_url_and_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"sqlite:///{tmp_path}/a.db"
    created(text)
    monkeypatch.setenv("KD_SWEEPS_STORAGE", text)
    for storage in (text, resolve(text), None):
        with open_sweep(storage, "s") as (engine, sweep):
            assert (sweep.name, engine.url.database) == ("s", str(tmp_path / "a.db"))


def test_only_a_sweep_opened_for_writing_can_be_changed(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db")
    with (
        open_sweep(url, "s") as (engine, sweep),
        pytest.raises(Exception, match=r"read-only|readonly|cannot be written"),
    ):
        workers.pause(engine, sweep.id)
    with open_sweep(url, "s", write=True) as (engine, sweep):
        workers.pause(engine, sweep.id)
        assert queries.find_sweep(engine, "s").state == "paused"


def test_a_missing_storage_or_sweep_is_an_error_and_creates_no_file(tmp_path: Path) -> None:
    text = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(NotAStorage), open_sweep(text, "s"):
        pass
    assert list(tmp_path.iterdir()) == []
    created(text)
    with pytest.raises(SweepNotFound, match="no sweep 't'"), open_sweep(text, "t"):
        pass
    with pytest.raises(SpecError, match="allowed are 1 to 64 letters"), open_sweep(text, "a b"):
        pass

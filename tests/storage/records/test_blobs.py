"""storage.records.artifacts and storage.records.artifacts: stored once, read as stored."""

import hashlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, update

from storage.db.transaction import read, write
from storage.errors import BlobCorrupt, RecordBroken
from storage.records import artifacts, queries
from storage.tables import blobs as table
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep

DATA = bytes(range(256)) * 10


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    with new_storage(storage_url) as engine:
        yield engine


def test_bytes_come_back_under_the_name_of_their_hash(engine: Engine) -> None:
    for data in (DATA, b"", b"\0"):
        digest = artifacts.put(engine, data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert artifacts.get(engine, digest) == data


def test_the_same_bytes_twice_are_one_row(engine: Engine) -> None:
    assert artifacts.put(engine, DATA) == artifacts.put(engine, DATA)
    with read(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(table)) == 1


@pytest.mark.parametrize("damage", [DATA[:-1], DATA[:-1] + b"x", b""])
def test_damaged_bytes_are_refused_and_healed_by_storing_them_again(engine: Engine, damage: bytes) -> None:
    digest = artifacts.put(engine, DATA)
    with write(engine) as connection:
        connection.execute(update(table).values(bytes=damage))
    with pytest.raises(BlobCorrupt, match=f"{digest[:12]} is damaged"):
        artifacts.get(engine, digest)
    assert artifacts.put(engine, DATA) == digest
    assert artifacts.get(engine, digest) == DATA


def test_missing_bytes_are_one_clear_line(engine: Engine) -> None:
    with pytest.raises(BlobCorrupt, match="is missing"):
        artifacts.get(engine, "0" * 64)


def test_the_first_selection_stays(engine: Engine) -> None:
    sweep, other = new_sweep(engine, name="one"), new_sweep(engine, name="other")
    assert artifacts.get_selection(engine, sweep, "confirm") is None
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 1}) == {"best": 1}
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 2}) == {"best": 1}
    assert artifacts.get_selection(engine, sweep, "confirm") == {"best": 1}
    assert queries.selections(engine, sweep) == {"confirm": {"best": 1}}
    assert queries.selections(engine, other) == {}


def test_a_stored_value_that_is_no_json_is_one_clear_line(engine: Engine) -> None:
    sweep = new_sweep(engine)
    artifacts.freeze_selection(engine, sweep, "confirm", {"best": 1})
    with write(engine) as connection:
        connection.exec_driver_sql("UPDATE selections SET value = '{best: 1}'")
    with pytest.raises(RecordBroken, match="is not JSON"):
        artifacts.get_selection(engine, sweep, "confirm")

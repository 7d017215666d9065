"""Bytes and JSON damaged in the database: each gives a one-line error, and `retry` recreates what it can."""

import pytest
from sqlalchemy import Engine, delete, text, update

from storage.db.transaction import write
from storage.errors import BlobCorrupt, RecordBroken
from storage.queue import plans, tasks
from storage.records import artifacts, queries
from storage.records.artifacts import freeze_selection
from storage.tables import blobs as blob_table
from sweeps.hints import explain
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, finished, new_sweep, states

PLAN = {"teachers": ((), 1, 1), "search": (("teachers",), 1, 2)}
LOGITS, MODEL = bytes(range(256)) * 40, b"a model" * 100


def taught(engine: Engine, sweep: int) -> dict[str, str]:
    """Finish the teacher, its blobs stored before its outcome; return their digests."""
    claim = claimed(engine, sweep)
    assert claim.key == "teachers#0"
    digests = {"logits": artifacts.put(engine, LOGITS), "model": artifacts.put(engine, MODEL)}
    assert tasks.finish(engine, claim, outcome={"blobs": digests, "content_hash": "0" * 64}, score=0.9)
    return digests


def damaged(engine: Engine, digest: str, data: bytes) -> None:
    """Replace the bytes of a blob; without bytes, delete its row."""
    at = blob_table.c.digest == digest
    with write(engine) as connection:
        connection.execute(update(blob_table).where(at).values(bytes=data) if data else delete(blob_table).where(at))


@both
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LOGITS[:-1], rf"is damaged: its {len(LOGITS) - 1} bytes hash to [0-9a-f]{{12}}"),
        (MODEL, rf"is damaged: its {len(MODEL)} bytes hash to [0-9a-f]{{12}}"),
        (b"", "is missing"),
    ],
)
def test_a_damaged_or_missing_blob_gives_a_one_line_error_and_retry_recreates_it(
    engine: Engine, data: bytes, message: str
) -> None:
    sweep = new_sweep(engine, PLAN)
    digest = taught(engine, sweep)["logits"]
    assert plans.retry(engine, sweep, revision=1) == [], "nothing is damaged yet"
    damaged(engine, digest, data)
    with pytest.raises(BlobCorrupt, match=f"^blob {digest[:12]} {message}") as caught:
        artifacts.get(engine, digest)
    assert "\n" not in str(caught.value)
    assert plans.retry(engine, sweep, revision=1) == ["teachers#0"], "only the task of the damaged blob is retried"
    assert states(engine, sweep) == {"teachers": "open", "search": "open"}
    taught(engine, sweep)
    assert artifacts.get(engine, digest) == LOGITS
    assert plans.retry(engine, sweep, revision=1) == []
    assert finished(engine, claimed(engine, sweep))
    assert states(engine, sweep) == {"teachers": "closed", "search": "open"}


@pytest.mark.parametrize("bytes_", ["", '{"score": 0.', '{"score": 0.5}{'])
def test_an_outcome_that_is_not_json_names_its_task_and_what_to_type(engine: Engine, bytes_: str) -> None:
    sweep = new_sweep(engine, number=3)
    for _ in range(3):
        assert finished(engine, claimed(engine, sweep))
    with write(engine) as connection:
        connection.execute(text("UPDATE tasks SET outcome = :it WHERE key = 'search#1'"), {"it": bytes_})
    expected = "the stored outcome of search#1 is no longer JSON; to recreate it, type: kd-sweeps retry s"
    for ask in (
        lambda: queries.task_records(engine, sweep),
        lambda: queries.task_records(engine, sweep, phase="search", state="done"),
    ):
        with pytest.raises(RecordBroken) as caught:
            ask()
        assert explain(caught.value) == expected
    assert queries.phase_records(engine, sweep)[0].counts == {"done": 3}, (
        "counts need no outcome, so they are still readable"
    )
    assert queries.task_records(engine, sweep, state="waiting") == []


@pytest.mark.parametrize("value", ["CAST(X'7bff00' AS TEXT)", "X'7bff00'"])
def test_an_outcome_that_is_not_text_names_its_task(engine: Engine, value: str) -> None:
    sweep = new_sweep(engine, number=2)
    for _ in range(2):
        assert finished(engine, claimed(engine, sweep))
    with write(engine) as connection:
        connection.exec_driver_sql(f"UPDATE tasks SET outcome = {value} WHERE key = 'search#1'")
    with pytest.raises(RecordBroken, match=r"^the stored outcome of search#1 is no longer JSON"):
        queries.task_records(engine, sweep)
    assert plans.retry(engine, sweep, revision=1) == ["search#1"]
    assert finished(engine, claimed(engine, sweep))
    assert [task.state for task in queries.task_records(engine, sweep)] == ["done", "done"]


@pytest.mark.parametrize("outcome", ["null", "5", "[]", '"text"', '{"blobs": 5}'])
def test_retry_recreates_an_outcome_that_is_json_of_another_type(engine: Engine, outcome: str) -> None:
    sweep = new_sweep(engine, number=2)
    for _ in range(2):
        assert finished(engine, claimed(engine, sweep))
    with write(engine) as connection:
        connection.execute(text("UPDATE tasks SET outcome = :it WHERE key = 'search#1'"), {"it": outcome})
    assert plans.retry(engine, sweep, revision=1) == ["search#1"]


OTHERS = {
    "tasks SET payload = 'x' WHERE key = 'search#2'": "the stored payload of search#2",
    f"tasks SET payload = '{'[' * 5_000}{']' * 5_000}' WHERE key = 'search#2'": "the stored payload of search#2",
    "attempts SET params = '{'": "the stored parameters of search#0",
    "phases SET needs = '['": "the stored needs of search",
    "revisions SET spec = '{'": "the stored spec of revision 1",
    "revisions SET planned = '{'": "the stored plan of revision 1",
    "selections SET value = '{'": "the stored selection of search.ranks",
}


@pytest.mark.parametrize("damage", OTHERS)
def test_any_other_stored_value_that_is_not_json_is_named(engine: Engine, damage: str) -> None:
    sweep = new_sweep(engine, number=3)
    assert tasks.save_point(engine, claimed(engine, sweep), {"alpha": 0.5})
    freeze_selection(engine, sweep, "search.ranks", {"ranks": []})
    readers = (queries.task_records, queries.phase_records, queries.revisions, queries.selections)
    for reader in readers:
        reader(engine, sweep)
    with write(engine) as connection:
        connection.exec_driver_sql(f"UPDATE {damage}")
    errors = []
    for reader in readers:
        try:
            reader(engine, sweep)
        except RecordBroken as error:
            errors.append(explain(error))
    cure = "put it back, or create another sweep: kd-sweeps create NAME"
    assert errors == [f"{OTHERS[damage]} is no longer JSON; {cure}"], "the other readers still work"


@pytest.mark.parametrize("column", ["spec", "provenance"])
def test_an_unreadable_sweep_is_named_and_the_others_stay_readable(engine: Engine, column: str) -> None:
    new_sweep(engine, name="good")
    new_sweep(engine, name="bad")
    with write(engine) as connection:
        connection.exec_driver_sql(f"UPDATE sweeps SET {column} = '{{' WHERE name = 'bad'")
    message = f"^the stored {column} of bad is no longer JSON$"
    with pytest.raises(RecordBroken, match=message):
        queries.find_sweep(engine, "bad")
    with pytest.raises(RecordBroken, match=message):
        queries.list_sweeps(engine)
    assert queries.find_sweep(engine, "good").spec == {"name": "good"}

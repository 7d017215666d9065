"""sweeps.contrib.archive.lines: a line for each row, a field for each column."""

import pytest

from storage.tables import metadata
from sweeps.contrib.archive.lines import LINES

# Columns that another database renumbers or implies, and what replaces them.
NOT_CARRIED = {
    "sweeps": {"id", "repaired_at", "identity"},
    "revisions": {"sweep_id"},
    "phases": {"id", "sweep_id", "retries"},  # it tells readers of one storage that something changed
    "tasks": {"id", "sweep_id", "phase_id"},
    "attempts": {"task_id", "reported"},
    "selections": {"sweep_id"},
    "workers": {"sweep_id"},
}
INSTEAD = {"tasks": {"phase"}, "attempts": {"task"}}


@pytest.mark.parametrize("table", NOT_CARRIED)
def test_an_archive_holds_every_column(table: str) -> None:
    """A new column is added here, with a new format version if files of the old one lack it."""
    columns = {column.key for column in metadata.tables[table].columns}
    fields = set(LINES["sweep" if table == "sweeps" else table].model_fields)
    assert fields == columns - NOT_CARRIED[table] | INSTEAD.get(table, set())


def test_an_archive_holds_every_table() -> None:
    assert set(metadata.tables) == {*NOT_CARRIED, "blobs", "kd_sweeps_schema", "reserved_studies"}

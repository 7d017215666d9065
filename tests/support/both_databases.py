"""Which storage tests run on both databases: those of statements, types, locks and isolation, which may differ.

What is decided in Python is asked of SQLite. On Postgres, too, whatever the queue does is compared with a model
(tests/unit/storage/concurrency/test_stateful.py).
"""

import pytest

both = pytest.mark.parametrize("storage", ["sqlite", "postgres"], indirect=True)

"""Which storage tests run on both databases: those of statements, types, locks and isolation, which may differ.

Decisions made in Python are tested on SQLite alone. The whole queue is also compared with a model, on both
(tests/unit/storage/concurrency/test_stateful.py).
"""

import pytest

both = pytest.mark.parametrize("storage", ["sqlite", "postgres"], indirect=True)

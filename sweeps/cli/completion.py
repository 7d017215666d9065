"""Names that the shell completes: sweeps and presets."""

import contextlib
import threading

import typer

PRESETS = ("tiny", "quick", "compare", "full")
"""Names only: importing the presets takes a tenth of a second."""

_WAIT_S = 2.0  # for a database that does not answer: the shell waits that long


def sweep_names(context: typer.Context) -> list[str]:
    """Return the names of the sweeps in the storage of the line, else of the environment; none where it is unreachable.

    A service is not asked: that would take longer than a user waits after a key.
    """
    from storage.db.engine import open_engine
    from storage.errors import StorageError
    from storage.records import queries
    from storage.url import resolve

    names: list[str] = []

    def read() -> None:
        with contextlib.suppress(StorageError):
            engine = open_engine(resolve(context.params.get("storage")), read_only=True)
            names.extend(sweep.name for sweep in queries.list_sweeps(engine))
            engine.dispose()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(_WAIT_S)
    return names


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return list(PRESETS)

"""What the shell completes beside commands and options: names of sweeps and presets."""

import contextlib
import threading

import typer

PRESETS = ("tiny", "quick", "compare", "full")
"""Their names alone: the presets themselves take a tenth of a second to import."""

_WAIT_S = 2.0  # for a database that does not answer: the shell stands still meanwhile


def sweep_names(context: typer.Context) -> list[str]:
    """Return the sweeps of the storage that the line names, else of the environment's; none where it does not answer.

    A service is not asked: that takes longer than the user waits for a key.
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

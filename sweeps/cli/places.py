"""Choose where a command asks: a database, or a service that stands before one."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.places.place import Place


def asked(storage: str | None, service: str | None) -> "Place":
    """Return the place that was typed, else what the environment names: a service before a database.

    Raises:
        SpecError: both were typed, or the URL of the service is none.
        storage.errors.UrlError: the URL of the storage is none.
    """
    if service is not None and storage is not None:
        from sweeps.errors import SpecError

        raise SpecError("got --url and --storage; give one of them: a service reads its own database")
    named = service if storage is None else None
    if named is None and storage is None:
        named = os.environ.get("KD_SWEEPS_URL") or None
    if named is None:
        from storage.url import resolve
        from sweeps.places.database import Database

        return Database(resolve(storage))
    from sweeps.remote.service import Service

    return Service(named, os.environ.get("KD_SWEEPS_TOKEN", "").strip())

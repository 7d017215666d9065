"""How a worker reaches its sweep: through a database, or a service with a token of the role worker."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import sqlalchemy

from storage.url import absolute, masked, plain
from sweeps.extensions import attribute
from sweeps.workers import logs
from sweeps.workers.backend import Backend, DatabaseBackend

URL_VARIABLE, TOKEN_VARIABLE = "KD_SWEEPS_URL", "KD_SWEEPS_TOKEN"
STORAGE_VARIABLES = ("KD_SWEEPS_STORAGE", "OPTUNA_STORAGE")


@dataclass(frozen=True)
class Service:
    """A service, by its address without a trailing slash."""

    address: str
    token: str = field(default="", repr=False)

    @property
    def url(self) -> sqlalchemy.URL:
        """The address with the token as a password, so that functions that redact passwords redact it."""
        parts = urlsplit(self.address)
        return sqlalchemy.URL.create(parts.scheme, password=self.token or None, host=parts.hostname)

    def backend(self, name: str) -> Any:
        """Open a sweep; see `sweeps.contrib.server.worker_client.HttpBackend`."""
        return attribute("sweeps.contrib.server.worker_client:HttpBackend").open(self, name)

    def oversight(self, name: str) -> Any:
        """Open it for a launch; see `sweeps.contrib.server.worker_client.HttpOversight`."""
        return attribute("sweeps.contrib.server.worker_client:HttpOversight").open(self, name)


Reach: TypeAlias = sqlalchemy.URL | Service


def open_backend(reach: Reach, name: str) -> Backend:
    if isinstance(reach, Service):
        backend: Backend = reach.backend(name)
        return backend
    return DatabaseBackend.open(reach, name)


def label(reach: Reach) -> str:
    """Return a name for display, without a password: "storage sqlite:///kd-sweeps.db"."""
    return f"service {reach.address}" if isinstance(reach, Service) else f"storage {masked(reach)}"


def log_folder(reach: Reach, sweep: str) -> Path:
    """Return the folder for the worker logs of a sweep on this machine: sweeps of one name in two storages have two."""
    where = label(reach if isinstance(reach, Service) else absolute(reach))
    return logs.log_root() / f"{sweep}.{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def secret_of(reach: Reach) -> sqlalchemy.URL:
    """Return the URL whose password must be redacted."""
    return reach.url if isinstance(reach, Service) else reach


def variables(reach: Reach) -> Mapping[str, str]:
    """Return the environment variables that tell a worker how to reach its sweep, since argv is visible to all.

    For a service the storage variables are empty: they would take precedence.
    """
    if isinstance(reach, Service):
        return {URL_VARIABLE: reach.address, TOKEN_VARIABLE: reach.token, **dict.fromkeys(STORAGE_VARIABLES, "")}
    return {STORAGE_VARIABLES[0]: plain(absolute(reach))}


def from_environment() -> Service | None:
    """Return the service that the environment names; None if it names a database, or nothing."""
    address = os.environ.get(URL_VARIABLE)
    if not address or any(os.environ.get(name) for name in STORAGE_VARIABLES):
        return None
    return Service(address, os.environ.get(TOKEN_VARIABLE, "").strip())

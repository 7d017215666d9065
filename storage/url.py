"""Resolve the storage from a flag, the environment or the default, as one checked URL."""

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import URL

from storage.errors import UrlError

DEFAULT = "sqlite:///kd-sweeps.db"
ALLOWED = "allowed: sqlite:///FILE.db and postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SECRETS = ("password", "sslpassword")
_DRIVER = "postgresql+psycopg"
_POSTGRES = {"postgres", "postgresql", _DRIVER, "postgresql+psycopg2"}


def resolve(flag: str | None = None, environ: Mapping[str, str] = os.environ) -> URL:
    """Return the storage to use: the flag, else KD_SWEEPS_STORAGE, else OPTUNA_STORAGE, else a file here.

    OPTUNA_STORAGE is read because the `optuna` command reads it: both tools then agree without a flag. The URL names
    its driver, `sqlite` or `postgresql+psycopg`; a relative SQLite path stays relative. Raises UrlError.
    """
    named = {
        "--storage": flag,
        "KD_SWEEPS_STORAGE": environ.get("KD_SWEEPS_STORAGE"),
        "OPTUNA_STORAGE": environ.get("OPTUNA_STORAGE"),
    }
    for origin, text in named.items():
        if text:
            return _checked(text.strip(), origin)
    return sqlalchemy.make_url(DEFAULT)


def masked(url: URL) -> str:
    """Return the URL for printing: without the driver that `resolve` adds, and with passwords as ***."""
    hidden = {name: "***" for name in _SECRETS if name in url.query}
    typed = url.set(drivername="postgresql") if url.drivername == _DRIVER else url
    masked_url = typed.update_query_dict(hidden).render_as_string(hide_password=True)
    return masked_url.replace("%2A%2A%2A", "***")


def has_password(url: URL) -> bool:
    """Return whether `masked` hides a password: such a URL cannot be typed as printed."""
    return url.password is not None or any(name in url.query for name in _SECRETS)


def without_passwords(text: str, url: URL | None, *, first: int | None = None, last: int | None = None) -> str:
    """Return the text with *** in place of the passwords of the URL and of every URL in the text.

    first, last: return only so many characters, from the beginning or the end. The cut comes after the known passwords
    are replaced: half a password would not be recognised.
    """
    known = [url.password, *(url.query.get(name) for name in _SECRETS)] if url is not None else []
    for secret in known:
        for written in _spellings(str(secret)) if secret else ():
            text = text.replace(written, "***")
    text = text[:first] if last is None else text[-last:]
    # Up to the last @ before a slash, since a password may contain one; or up to dots, where a message was cut.
    return re.sub(r"(://[^\s/:@]*:)[^\s/]+(@|\.\.\.)", r"\1***\2", text)


def _spellings(secret: str) -> list[str]:
    """Return the spellings of a password - plain, in a URL, in JSON, in Python - longest first."""
    as_json, as_python = json.dumps(secret)[1:-1], repr(secret)[1:-1]
    return sorted({secret, quote(secret, safe=""), quote(secret, safe=" +"), as_json, as_python}, key=len, reverse=True)


def plain(url: URL) -> str:
    """Return the URL with its password, for the environment of a child process; never for a screen, log or argv."""
    return url.render_as_string(hide_password=False)


def absolute(url: URL) -> URL:
    """Return the URL of the same storage for a process in any directory."""
    if url.get_backend_name() != "sqlite":
        return url
    return url.set(database=str(sqlite_path(url).absolute()))


def sqlite_path(url: URL) -> Path:
    """Return the file behind an SQLite URL; UrlError if it names none."""
    if not url.database:
        raise UrlError(f"{masked(url)} names no file; {ALLOWED}")
    return Path(url.database)


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    """Return whether a host stands for all addresses of this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:  # a name
        return False


def _checked(text: str, origin: str) -> URL:
    if "://" not in text:
        hint = f"sqlite:///{text}" if "@" not in text else "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        raise UrlError(f"{origin} is {_masked_text(text)!r}, which is not a URL; type: {hint}")
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UrlError(f"{origin} is {_masked_text(text)!r}, which is a malformed URL; {ALLOWED}") from None
    if "@" in (url.host or ""):
        raise UrlError(
            f"{origin} is {_masked_text(text)!r}: the password holds an @; in a URL that is %40 (/ is %2F, : is %3A)"
        )
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _checked_sqlite(url, origin, text)
    if url.drivername in _POSTGRES:
        return url.set(drivername=_DRIVER)
    raise UrlError(f"{origin} is {masked(url)!r}, but only SQLite and Postgres are supported; {ALLOWED}")


def _checked_sqlite(url: URL, origin: str, text: str) -> URL:
    if url.host:
        raise UrlError(f"{origin} is {text!r}: one slash is missing; type: sqlite:///{url.host}")
    if not url.database or url.database.startswith(":memory:") or "mode" in url.query:
        raise UrlError(
            f"{origin} is {text!r}, a database inside one process; workers are other processes and need a"
            f" file; type: {DEFAULT}"
        )
    if url.query or url.database.startswith("file:"):
        raise UrlError(f"{origin} is {text!r}; an SQLite URL here has only a path; {ALLOWED}")
    return url.set(drivername="sqlite")


def _masked_text(text: str) -> str:
    """Return the typed text without anything in the place of a password."""
    text = re.sub(r"((?:ssl)?password=)[^&]*", r"\1***", text)
    if "@" not in text:
        return re.sub(r"(://[^/:]*:)[^/?]*", r"\1***", text)  # USER:PASSWORD without a host looks like HOST:PORT
    before, _, place = text.rpartition("@")
    scheme, slashes, credentials = before.rpartition("://")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{slashes}{user}{colon}{'***' if colon else ''}@{place}"

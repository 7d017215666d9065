"""Open Optuna's storage in the same database, on the connections of our own engine."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage
from sqlalchemy import URL, Engine

from storage.db.engine import open_engine
from storage.db.faults import RETRY_FOR_S, is_refused_for_now, retrying_for, translate
from storage.errors import NotAStorage
from storage.studies.faults import readable
from storage.url import masked, plain


@retrying_for(RETRY_FOR_S, when=is_refused_for_now)
def connect(url: URL, *, create: bool = False) -> tuple[RDBStorage, Engine]:
    """Open the storage for our queries and for Optuna, with one pool of connections for both.

    The engine is the one engine of the process. Optuna's constructor takes no engine, but it hands a pool on to
    SQLAlchemy: so its own engine object borrows the connections of ours, with our settings, and opens none itself.

    Args:
        create: make Optuna's tables (and a missing SQLite file); inside `storage.db.engine.create_lock`.

    Raises:
        NotAStorage: nothing there, or tables of another Optuna.
        Unreachable: no server, no access, wrong password.
    """
    engine = open_engine(url, must_exist=not create)  # our checks first: their lines say what to do next
    engine.dispose()  # SQLAlchemy prepares Optuna's engine when the pool connects for the first time
    # Its default is a line per trial, and its warnings say with pages of SQL what we say in a line.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with without_warnings():
            rdb = RDBStorage(
                plain(url),
                engine_kwargs={"pool": engine.pool},
                skip_compatibility_check=True,  # ours can close the connection before it complains
                skip_table_creation=not create,
            )
            _check_version(rdb, url)
    except optuna.exceptions.StorageInternalError as error:
        engine.dispose()
        raise readable(error, url) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        engine.dispose()
        raise translate(error, url) from error
    except BaseException:
        engine.dispose()
        raise
    return rdb, engine


def _check_version(rdb: RDBStorage, url: URL) -> None:
    found, needed = rdb.get_current_version(), _head_version(rdb)
    if found == needed:
        return
    known = found in rdb.get_all_versions()
    cure = f"type: optuna storage upgrade --storage {masked(url)}" if known else "upgrade Optuna here"
    raise NotAStorage(f"{masked(url)} has Optuna tables of version {found}, but {needed} is needed; {cure}")


_head: list[str] = []  # filled by the first that asks: Optuna reads 15 migration scripts to tell it


def _head_version(rdb: RDBStorage) -> str:
    """Return the schema version of the Optuna that is installed."""
    if not _head:
        _head.append(rdb.get_head_version())
    return _head[0]


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Optuna's warning that metric names are experimental: a user of ours cannot act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield

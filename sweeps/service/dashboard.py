"""Serve optuna-dashboard on a sweep's storage, in this process: the URL and its password never reach argv."""

import sqlalchemy

from storage.records import queries
from storage.studies import adapter
from sweeps.errors import SweepError


def serve(url: sqlalchemy.URL, name: str, *, host: str, port: int) -> None:
    """Serve the dashboard until Ctrl-C. It has no authentication and can delete studies: keep it on 127.0.0.1."""
    opened = adapter.open_studies(url)
    queries.find_sweep(opened.engine, name)
    from optuna_dashboard import run_server

    try:
        run_server(opened.storage, host=host, port=port)
    except OSError as error:
        raise SweepError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another: --port {port + 1}"
        ) from None

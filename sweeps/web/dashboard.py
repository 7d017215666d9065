"""optuna-dashboard on the same database, behind the same guard."""

from typing import Any

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI

from storage.studies import adapter


def mount(app: FastAPI, studies: adapter.Studies) -> None:
    """Mount it at "/", after every other route: its pages ask for /static and /api/studies."""
    from optuna_dashboard import wsgi

    app.mount("/", _bounded(wsgi(studies.storage)))


def _bounded(app: Any) -> Any:
    return WSGIMiddleware(app, workers=4)

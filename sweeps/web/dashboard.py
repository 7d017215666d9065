"""optuna-dashboard on the same database, behind the same guard."""

from typing import Any

import sqlalchemy
from a2wsgi import WSGIMiddleware
from fastapi import FastAPI

from storage.studies import adapter


def mount(app: FastAPI, url: sqlalchemy.URL) -> adapter.Studies:
    """Mount it at "/", after every other route: its pages ask for /static and /api/studies. Close what it returns."""
    from optuna_dashboard import wsgi

    studies = adapter.open_studies(url)
    app.mount("/", _bounded(wsgi(studies.storage)))
    return studies


def _bounded(app: Any) -> Any:
    return WSGIMiddleware(app, workers=4)

"""The OpenAPI document: what FastAPI knows of the routes, and what the guard before them asks for."""

from typing import Any

from fastapi import FastAPI

_OPEN = ("/healthz", "/readyz")


def describe(app: FastAPI) -> None:
    """Let the document of an app say that it takes a bearer token, by which role."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = made()
            found["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": "viewer: GET alone; operator: everything"}
            }
            found["security"] = [{"token": []}]
            for path in _OPEN:
                found["paths"][path]["get"]["security"] = []
            app.openapi_schema = found
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]

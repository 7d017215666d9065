"""Errors as problem documents, and the check of specs in requests."""

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from kd.errors import KdError
from kd.tools.code import is_code
from storage.errors import RevisionRefused, StorageError, SweepInUse, SweepNotFound, UrlError
from sweeps.contrib.server.shared import Busy
from sweeps.errors import AnotherSpec, NoResultsYet, NotAllowed, NotThere, SpecError, SweepError
from sweeps.hints import explain, local
from sweeps.spec.model import Spec
from sweeps.terminal import escape_control_chars, truncated

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("kd-sweeps")

# The first match counts: the status, and the exit code of the same command on a database.
_KINDS: tuple[tuple[type[Exception], int, int], ...] = (
    (AnotherSpec, 409, 2),
    (SpecError, 422, 2),
    (NoResultsYet, 409, 3),
    (NotThere, 404, 1),
    (NotAllowed, 403, 1),
    (SweepError, 409, 1),
    (KdError, 422, 1),
    (UrlError, 503, 1),
    (RevisionRefused, 409, 1),
    (SweepInUse, 409, 1),
    (StorageError, 503, 1),
)
_A_NAME = re.compile(r"[A-Za-z0-9_.:+-]*")
_NO_FILE = "no request names a file on the server; one that does"


class Problem(BaseModel):
    """An error. detail: the line that the command line prints. exit_code: of the same command."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    exit_code: int = Field(ge=1, le=3)


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457): `detail` is the line that the command line prints.",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}


def problem(status: int, detail: str, *, exit_code: int = 1, headers: dict[str, str] | None = None) -> Response:
    text = escape_control_chars(" ".join(detail.split()))
    document = Problem(title=HTTPStatus(status).phrase, status=status, detail=text, exit_code=exit_code)
    # json.dumps escapes lone surrogates, which UTF-8 cannot encode.
    body = json.dumps(document.model_dump()).encode()
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    for kind in (SweepError, StorageError, KdError):
        app.add_exception_handler(kind, _expected)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)


def _expected(request: Request, error: Exception) -> Response:
    if isinstance(error, SweepNotFound):  # its own text names the database
        name = request.path_params.get("name", "")
        return problem(404, f"this service has no sweep {name!r}; to list them: {local().line('list')}")
    if isinstance(error, Busy):
        return problem(503, str(error), headers={"Retry-After": "5"})
    status, code = next((status, code) for kind, status, code in _KINDS if isinstance(error, kind))
    if status < 500:
        return problem(status, explain(error), exit_code=code)
    LOG.error("%s %s: %s", request.method, request.url.path, explain(error))
    return problem(503, "the database of this service cannot be used now; see its log", headers={"Retry-After": "5"})


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {404: f"there is nothing at {request.url.path}; all paths: /api/v1/openapi.json"}
    details[400] = "the body cannot be read: not UTF-8, nested too deeply, or a number with too many digits"
    details[405] = f"{request.url.path} does not take {request.method}; all methods: /api/v1/openapi.json"
    return problem(
        error.status_code, details.get(error.status_code, str(error.detail)), headers=dict(error.headers or {})
    )


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        text = f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
        return problem(422, text, exit_code=2)
    if isinstance(first.get("input"), bytes):
        return problem(422, "a body needs the header Content-Type: application/json", exit_code=2)
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    value = json.dumps(first.get("input"), default=str)
    text = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return problem(422, f"{where}: got {truncated(value, 80)}; allowed: {text}", exit_code=2)


def _bug(request: Request, error: Exception) -> Response:
    return problem(500, "a bug in the service; its log has the traceback")


def check_allowed(spec: Spec, *, allow_code: bool) -> None:
    """Check that a spec names datasets and models of this package only. allow_code: Python code, too.

    Raises NotAllowed for files, and for code unless it is allowed.
    """
    if spec.code:
        raise _refused("code", next(iter(spec.code)), _NO_FILE)
    for key, name, why in spec.kind.files(spec):
        raise _refused(key, name, why)
    for key, name in [("search.sampler", spec.search.sampler), *spec.kind.code(spec)]:
        if not _A_NAME.fullmatch(name):
            raise _refused(key, name, _NO_FILE)
        if is_code(name) and not allow_code:
            raise NotAllowed(
                f"{key}: got {name!r}, which is Python code; this service was started without --allow-code; create the"
                f" sweep on the machine of its database: {_create()}"
            )


def _refused(key: str, value: str, why: str) -> NotAllowed:
    return NotAllowed(
        f"{key}: got {truncated(value, 80)!r}; {why} is created on the machine of the database: {_create()}"
    )


def _create() -> str:
    return local().line("create", "NAME", "my.toml")

"""Requests to the service over HTTP. Imports nothing of the product."""

import json
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, token: str | None = None, *, method: str = "GET", timeout_s: float = 30) -> tuple[int, str]:
    """Status and body of an answer; (0, reason) where there is no answer."""
    request = urllib.request.Request(url, method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def ask_json(url: str, token: str | None = None) -> Any:
    """Return the JSON of an answer; AssertionError for any status but 200."""
    status, body = ask(url, token)
    assert status == 200, f"{url}: {status} {body[:1000]}"
    return json.loads(body)

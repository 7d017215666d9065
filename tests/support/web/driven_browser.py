"""A browser that stays open on a page, driven over the WebDriver protocol: what people see while a sweep runs.

Source: https://www.w3.org/TR/webdriver2/ (its JSON over HTTP, so no package is needed).
"""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_ports
from tests.support.sweeps.small_sweeps import wait_until


class DrivenBrowser:
    """One window, 1000 x 800 px unless resized."""

    def __init__(self, driver: str, options: list[str]) -> None:
        """Open it. driver: the address of chromedriver."""
        self._address = driver
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", *options]
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
        }
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._address = f"{driver}/session/{session['sessionId']}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._address}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def go(self, address: str) -> None:
        self._ask("POST", "/url", {"url": address})

    def run(self, script: str) -> Any:
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    @property
    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until the page shows a text without user interaction."""
        wait_until(lambda: text in self.text, f"the page does not show {text!r}", seconds)

    def resize(self, width: int, height: int) -> None:
        self._ask("POST", "/window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def close(self) -> None:
        self._ask("DELETE", "")


@contextlib.contextmanager
def driven_browser(profile: Path, *options: str) -> Iterator[DrivenBrowser]:
    """Start a browser with a fresh profile; skip where it or its driver is not installed."""
    for program in ("chromedriver", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on the PATH")
    (port,) = free_ports()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), "chromedriver does not listen", 30)
        browser = DrivenBrowser(f"http://127.0.0.1:{port}", [f"--user-data-dir={profile}", *options])
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(30)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True

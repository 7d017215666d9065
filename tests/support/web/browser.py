"""A headless browser, where one is installed: pages as people see them."""

import shutil
import subprocess
from pathlib import Path

import pytest


class Browser:
    """Start Chromium with a fresh profile, 1200 x 6000 px."""

    def __init__(self, profile: Path) -> None:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if program is None:
            pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
        self._command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        self._command += ["--disable-background-networking", f"--user-data-dir={profile}", "--window-size=1200,6000"]
        self._command += ["--virtual-time-budget=20000"]  # ms of simulated time for a page's own scripts

    def dom(self, address: str) -> str:
        """Return the document after its scripts have run, as HTML."""
        command = [*self._command, "--dump-dom", address]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    def printed(self, address: str, folder: Path) -> list[str]:
        """Return the text of each printed page; skip where pdftotext is not installed."""
        if shutil.which("pdftotext") is None:
            pytest.skip("no pdftotext on the PATH")
        paper = folder / "page.pdf"
        command = [*self._command, "--no-pdf-header-footer", f"--print-to-pdf={paper}", address]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        process = subprocess.run(
            ["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True, timeout=60
        )
        return process.stdout.removesuffix("\f").split("\f")

    def screenshot(self, address: str, path: Path) -> None:
        command = [*self._command, f"--screenshot={path}", address]
        subprocess.run(command, capture_output=True, check=True, timeout=120)

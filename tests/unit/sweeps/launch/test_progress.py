"""The progress of a launch: bars in a notebook, without widgets, and in a terminal."""

import io
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from sweeps.distill.presets import on
from sweeps.launch.oversight import overseen
from sweeps.launch.progress import live_progress
from sweeps.spec.model import override
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """Collect what a notebook is sent: ("display" or "update", MIME bundle)."""
    messages: list[tuple[str, dict[str, str]]] = []

    class Handle:
        def update(self, bundle: dict[str, str], *, raw: bool) -> None:
            assert raw
            messages.append(("update", bundle))

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        messages.append(("display", bundle))
        return Handle()

    module: Any = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return messages


def test_a_notebook_gets_bars_that_replace_each_other(
    tmp_path: Path, in_memory: None, displayed: list[tuple[str, dict[str, str]]]
) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db")
    console = Console(file=(lines := io.StringIO()), force_jupyter=True)
    with overseen(url, "s") as queue, live_progress(queue, console, lambda: 1):
        work(url, quadratic)
    assert [kind for kind, _ in displayed] == ["display", "update"]
    first, last = (bundle for _, bundle in displayed)
    assert "0 %" in first["text/plain"]
    assert "100 %" in last["text/plain"]
    assert re.search(r"^search +━+ +4/4", last["text/plain"], flags=re.MULTILINE)
    assert last["text/html"].startswith("<pre style=")
    assert "search" in last["text/html"]
    assert "━" in last["text/html"]
    assert lines.getvalue() == "", "bars replace the lines"


def test_bars_fit_a_terminal_of_80_columns(tmp_path: Path, in_memory: None) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db")
    console = Console(file=(screen := io.StringIO()), force_terminal=True, width=80, legacy_windows=False)
    with overseen(url, "s") as queue, live_progress(queue, console, lambda: 1):
        work(url, quadratic)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()
    assert any(re.search(r"^all +━+ +100 %", line) for line in lines)
    assert max(map(len, lines)) <= 80


def test_on_one_dataset_no_line_mentions_transfer(tmp_path: Path, in_memory: None) -> None:
    alone = override(on(SMALL, source="digits", alone=True), {"baselines.methods": []})
    url = created(f"sqlite:///{tmp_path}/a.db", alone)
    console = Console(file=(lines := io.StringIO()), width=200)
    with overseen(url, "s") as queue, live_progress(queue, console, lambda: 1) as refresh:
        work(url, quadratic)
        refresh(last=True)
    assert "compare 2/2" in lines.getvalue()
    assert not re.search("transfer|native", lines.getvalue())

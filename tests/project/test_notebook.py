"""The notebook in the docs: it was run, it is small, and its cells still run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import DOCS
from tests.support.paths import REPOSITORY

NOTEBOOK = DOCS / "notebooks" / "first-sweep.ipynb"
MOST_BYTES = 250_000
ABSOLUTE = re.compile(r"(?<![\w<:/.*+-])/[A-Za-z]\w*/[\w./-]+")  # a path, not a URL, a closing tag or a division


def _code() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _kinds(cell: dict[str, Any]) -> set[str]:
    return {kind for output in cell["outputs"] for kind in output.get("data", {output["output_type"]: None})}


def test_it_was_run_from_top_to_bottom_and_is_small() -> None:
    assert NOTEBOOK.stat().st_size <= MOST_BYTES
    cells = _code()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


def test_it_shows_the_bars_the_best_point_a_figure_a_table_and_the_page() -> None:
    created, ran, *_, last = _code()
    pages = ["".join(cell["outputs"][-1]["data"]["text/html"]) for cell in (created, last)]
    assert all(page.startswith("<iframe sandbox") for page in pages)
    assert "sweep.run()" in pages[0]
    assert "<svg" in pages[1]
    assert any("100 %" in "".join(output["data"]["text/plain"]) for output in ran["outputs"] if "data" in output)
    assert any("image/svg+xml" in _kinds(cell) for cell in _code())
    assert any(
        "<table" in "".join(output["data"].get("text/html", ""))
        for cell in _code()
        for output in cell["outputs"]
        if "data" in output
    )


def test_it_reveals_nothing_about_the_machine_on_which_it_was_run() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not ABSOLUTE.findall(text)
    assert ABSOLUTE.findall("made at /home/me/a.db, see https://a.org/b/c and </p>") == ["/home/me/a.db"]


_RUN = """
import ast, json, sys

space = {}
for source in json.load(sys.stdin):
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), space)
    value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    for draw in ("_repr_html_", "_repr_svg_"):
        if hasattr(value, draw):
            print(draw, len(getattr(value, draw)()) > 1000)
print("finished", space["sweep"].status.fraction)
"""


@pytest.mark.slow
def test_its_cells_still_run(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(["".join(cell["source"]) for cell in _code()]),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert lines[-1] == "finished 1.0"
    assert lines.count("_repr_html_ True") >= 2
    assert "_repr_svg_ True" in lines

"""An executed notebook as Markdown: its texts, its code, and what its cells printed."""

import json
from typing import Any

from tests.support.paths import REPOSITORY

NOTEBOOKS = REPOSITORY / "docs" / "notebooks"


def markdown(name: str) -> str:
    """Return the cells of docs/notebooks/NAME.ipynb in order; each figure is a link to its file."""
    parts = []
    for number, cell in enumerate(_cells(name)):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            outputs = [_text(output, f"{name}-{number}.svg", f"{name}.ipynb") for output in cell["outputs"]]
            # ruff also formats code in Markdown and drops the last semicolon, which only a notebook needs.
            parts += [f"```python\n{source.removesuffix(';')}\n```", *outputs]
    return "\n\n".join(parts)


def figures(name: str) -> dict[str, str]:
    """Return the SVG of each cell that draws one, by the name of its file next to the notebook."""
    drawn = {}
    for number, cell in enumerate(_cells(name)):
        for output in cell.get("outputs", []):
            if svg := "".join(output.get("data", {}).get("image/svg+xml", "")):
                drawn[f"{name}-{number}.svg"] = svg
    return drawn


def _cells(name: str) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return cells


def _text(output: dict[str, Any], figure: str, notebook: str) -> str:
    """Return an output in a form that every code host shows."""
    if output["output_type"] == "error":
        raise ValueError(f"a cell of the notebook failed: {output['ename']}: {output['evalue']}")
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/svg+xml" in data:
        return f"![The figure]({figure})"
    if "".join(data.get("text/html", "")).startswith("<iframe"):
        return f"*The sweep's page: see it in [the notebook]({notebook}).*"
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"

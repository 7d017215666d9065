"""An executed notebook as Markdown: its texts, its code, and what the cells put out, as they are stored in it."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
_FENCE = "`" * 12  # longer than any run of backticks inside


def markdown(name: str) -> str:
    """Return the cells of notebooks/NAME.ipynb one below the other."""
    cells = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"{_FENCE}python\n{source}\n{_FENCE}", *map(_shown, cell["outputs"])]


def _shown(output: dict[str, Any]) -> str:
    """Return an output by the richest of the forms that it has."""
    if output["output_type"] == "error":
        raise ValueError(f"a cell of the notebook failed: {output['ename']}: {output['evalue']}")
    data = output.get("data", {"text/plain": output.get("text", "")})
    for kind in ("image/svg+xml", "text/html"):
        if kind in data:
            text = "".join(data[kind])
            # Without what comes before the element itself: an XML declaration is none in a page.
            text = text[text.index("<svg") :] if kind == "image/svg+xml" else text
            return f'{_FENCE}{{raw}} html\n<div class="output">\n{text}\n</div>\n{_FENCE}'
    return f"{_FENCE}text\n{''.join(data['text/plain']).rstrip()}\n{_FENCE}"

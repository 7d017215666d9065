"""The table of rooms and floors, read from the import contracts in pyproject.toml and the docstrings of the rooms."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY


def table() -> str:
    """Return a row for each room, top floor first: its floor, and what it is for in the words of its own docstring."""
    rows = ["| floor | room | what it is for |", "| --- | --- | --- |"]
    for package, floors in _floors():
        outside = sorted(_rooms(package) - {room for floor in floors for room in floor})
        rows += [_row("", room) for room in outside]
        rows += [_row(str(len(floors) - n), room) for n, floor in enumerate(floors) for room in floor]
    return "\n".join(rows)


def _floors() -> Iterator[tuple[str, list[list[str]]]]:
    """Yield each package, top first, with its floors from the top down."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [row["layers"] for row in project["tool"]["importlinter"]["contracts"] if row["type"] == "layers"]
    (whole,) = [layers for layers in contracts if "." not in layers[0]]
    inside = {layers[0].partition(".")[0]: layers for layers in contracts if layers is not whole}
    for package in (name for storey in whole for name in storey.split(" | ")):
        yield package, [floor.split(" | ") for floor in inside[package]]


def _rooms(package: str) -> set[str]:
    return {f"{package}.{path.parent.name}" for path in (REPOSITORY / package).glob("*/__init__.py")}


def _row(floor: str, room: str) -> str:
    suffix = "/" if _path(room).name == "__init__.py" else ".py"
    purpose = " ".join(_doc(room).split("\n\n")[0].split())
    return f"| {floor} | `{room.replace('.', '/')}{suffix}` | {purpose} |"


def _path(name: str) -> Path:
    path = REPOSITORY / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _doc(name: str) -> str:
    return ast.get_docstring(ast.parse(_path(name).read_text(encoding="utf-8"))) or ""


def docstring(name: str) -> str:
    """Return the docstring of a module: its diagram of states."""
    return f"```text\n{_doc(name)}\n```"

"""The picture of rooms and floors, drawn from the import contracts in pyproject.toml."""

import ast
import html
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ROOM, _GAP, _FLOOR, _HEAD = 158, 12, 58, 34  # px: width of a room, between rooms, height of a floor, of a title


@dataclass(frozen=True)
class Building:
    """One package: its name, and its floors from the top down, each a row of rooms."""

    name: str
    floors: tuple[tuple[str, ...], ...]

    @property
    def width(self) -> int:
        """Pixels."""
        return max(map(len, self.floors)) * (_ROOM + _GAP) + _GAP

    @property
    def height(self) -> int:
        """Pixels."""
        return _HEAD + len(self.floors) * (_FLOOR + _GAP)


def _buildings() -> list[list[Building]]:
    """Return the storeys of the whole, top first: each the buildings that stand beside each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [[tuple(floor.split(" | ")) for floor in one["layers"]] for one in contracts if one["type"] == "layers"]
    (whole,) = [one for one in layers if "." not in one[0][0]]
    inside = {one[0][0].split(".")[0]: tuple(one) for one in layers if one is not whole}
    return [[Building(name, (*_outside(name, inside[name]), *inside[name])) for name in storey] for storey in whole]


def _outside(package: str, floors: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    """Return the rooms that no contract gives a floor, as a row of their own above all floors."""
    rooms = {f"{package}.{path.parent.name}" for path in (ROOT / package).glob("*/__init__.py")}
    rest = tuple(sorted(rooms - {room for floor in floors for room in floor}))
    return [rest] if rest else []


def picture() -> str:
    """Return an inline SVG in which every room may import the rooms on the floors below it."""
    storeys = _buildings()
    width = max(sum(one.width for one in storey) + _GAP * (len(storey) - 1) for storey in storeys) + 4
    parts, top = [], 1
    for storey in storeys:
        left = (width - sum(one.width for one in storey) - _GAP * (len(storey) - 1)) // 2
        for building in storey:
            parts += _drawn(building, left, top)
            left += building.width + _GAP
        top += max(one.height for one in storey) + 2 * _GAP
    style = "fill:none;stroke:currentColor"
    return "\n".join(
        [
            "```{raw} html",
            f'<div class="rooms"><svg viewBox="0 0 {width} {top}" role="img" style="{style}" font-family="sans-serif">',
            "<title>Rooms and floors: each room imports only from the floors below it</title>",
            *parts,
            "</svg></div>",
            "```",
        ]
    )


def _drawn(building: Building, left: int, top: int) -> list[str]:
    parts = [
        f'<rect x="{left}" y="{top}" width="{building.width}" height="{building.height}" rx="6" stroke-width="1.5"/>',
        _text(left + _GAP, top + 23, f"{building.name}/", size=17, weight="bold", anchor="start"),
    ]
    for number, floor in enumerate(building.floors):
        y = top + _HEAD + number * (_FLOOR + _GAP)
        room_width = (building.width - _GAP) / len(floor) - _GAP
        for place, name in enumerate(floor):
            x = left + _GAP + place * (room_width + _GAP)
            files = _files(name)
            parts += [
                f"<g><title>{html.escape(_purpose(name))}</title>",
                f'<rect x="{x:g}" y="{y}" width="{room_width:g}" height="{_FLOOR}" rx="4" stroke-opacity="0.45"/>',
                _text(x + room_width / 2, y + 26, name.partition(".")[2], size=15, weight="bold"),
                _text(x + room_width / 2, y + 45, f"{files} file{'s' if files > 1 else ''}", size=12),
                "</g>",
            ]
    return parts


def _text(x: float, y: int, text: str, *, size: int, weight: str = "normal", anchor: str = "middle") -> str:
    return (
        f'<text x="{x:g}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'style="fill:currentColor;stroke:none">{html.escape(text)}</text>'
    )


def _path(name: str) -> Path:
    path = ROOT / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _files(name: str) -> int:
    path = _path(name)
    return sum(one.name != "__init__.py" for one in path.parent.rglob("*.py")) if path.name == "__init__.py" else 1


def _doc(name: str) -> str:
    return ast.get_docstring(ast.parse(_path(name).read_text(encoding="utf-8"))) or ""


def _purpose(name: str) -> str:
    return " ".join(_doc(name).split("\n\n")[0].split())


def table() -> str:
    """Return what each room is for, in the words of its own docstring, top floor first."""
    rows = ["| room | what it is for |", "| --- | --- |"]
    for storey in _buildings():
        for building in storey:
            rows += [f"| `{_shown(name)}` | {_purpose(name)} |" for floor in building.floors for name in floor]
    return "\n".join(rows)


def _shown(name: str) -> str:
    return name.replace(".", "/") + ("/" if _path(name).name == "__init__.py" else ".py")


def docstring(name: str) -> str:
    """Return the docstring of a module as it stands: its picture of states."""
    return f"```text\n{_doc(name)}\n```"

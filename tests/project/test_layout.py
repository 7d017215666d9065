"""The packages: limits on their size, and an __init__ that imports nothing."""

import ast
from collections import Counter
from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.support.wheel import PACKAGES

MOST_FILES, MOST_LINES = 20, 600


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_a_folder_holds_few_files() -> None:
    paths = [path for root in (*PACKAGES, "bench", "tests") for path in (REPOSITORY / root).rglob("*.py")]
    files = Counter(_name(path.parent) for path in paths if path.name != "__init__.py")
    assert {name: count for name, count in files.items() if count > MOST_FILES} == {}


def test_a_file_is_one_concept() -> None:
    files = [path for root in PACKAGES for path in (REPOSITORY / root).rglob("*.py")]
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


# Exceptions: kd and its losses import their public names on first use, sweeps imports nothing heavy, and the comparison
# methods are one small file.
WITH_CODE = {"kd", "kd/losses", "sweeps"}


def test_a_package_has_a_docstring_and_imports_nothing() -> None:
    rooms = {_name(path.parent): path for root in PACKAGES for path in (REPOSITORY / root).rglob("__init__.py")}
    for name, path in rooms.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), name
        if name not in WITH_CODE:
            assert len(tree.body) == 1, f"{name}/__init__.py holds more than its docstring"

"""A function as a model: the name by which a worker imports it, and functions that it cannot import."""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import SpecError
from sweeps.python.arguments import name_of, root_of


def module_function(*arguments: Any) -> None:
    pass


class Models:
    def build(self) -> None:
        pass


def test_a_function_is_named_by_its_module() -> None:
    assert name_of(module_function, "student") == "tests.unit.sweeps.python.test_functions:module_function"
    assert name_of(root_of, "student") == "sweeps.python.arguments:root_of"


def _of_main() -> Any:
    def build() -> None:
        pass

    build.__module__, build.__qualname__ = "__main__", "build"
    return build


def _inside() -> Any:
    def build() -> None:
        pass

    return build


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda: None, "got a lambda, which has no name"),
        (_of_main(), "got the function build of a notebook, a prompt or the running script, which workers"),
        (_inside(), "cannot be imported as"),
        (Models().build, "cannot be imported as"),
        (functools.partial(module_function, 1), "got a value of type partial, which is not a function"),
    ],
)
def test_a_function_that_no_worker_can_import_gives_a_one_line_error_with_the_remedy(
    function: Any, reason: str
) -> None:
    with pytest.raises(SpecError) as error:
        name_of(function, "student")
    message = str(error.value)
    assert message.startswith("student: got ")
    assert reason in message
    assert message.endswith('put it in a separate file and name that, for example student="./my_models.py:build"')
    assert "\n" not in message


def test_a_function_whose_name_now_belongs_to_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module_function
    monkeypatch.setitem(globals(), "module_function", _inside())
    with pytest.raises(SpecError, match="cannot be imported as"):
        name_of(before, "teacher")


def test_a_function_of_a_module_loaded_under_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.py").write_text("def build(input_shape, classes): ...\n")
    spec = importlib.util.spec_from_file_location("by_hand", tmp_path / "file.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "by_hand", module)
    spec.loader.exec_module(module)
    with pytest.raises(SpecError, match="cannot be imported as by_hand:build"):
        name_of(module.build, "student")


@pytest.mark.parametrize(
    ("module", "origin", "root"),
    [
        ("a", "/x/a.py", "/x"),
        ("a.b", "/x/a/b.py", "/x"),
        ("a.b", "/x/a/b/__init__.py", "/x"),
        ("a", "/x/b.py", None),
        ("b.a", "/x/a.py", None),
    ],
)
def test_the_folder_of_a_module_follows_from_its_name(module: str, origin: str, root: str | None) -> None:
    assert root_of(module, Path(origin)) == (None if root is None else Path(root))

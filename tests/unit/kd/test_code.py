"""User code named by module or by file: found, loaded once, identified by its hash."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from kd.errors import CodeError, CodeNotHere
from kd.tools import code
from tests.support.paths import REPOSITORY

SOURCE = """
RUNS = []
RUNS.append(1)

class Thing:
    def __init__(self, value):
        self.value = value

def build():
    return Thing(3)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my-models.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("name", "is_code", "file"),
    [
        ("package.module:build", True, None),
        ("./mine.py:build", True, Path.cwd() / "mine.py"),
        ("/a/mine.py:build", True, Path("/a/mine.py")),
        ("~/mine.py:build", True, Path.home() / "mine.py"),
        ("mine.py:build", True, None),  # a module py in a package mine
        ("pretrained:mobilenet", False, None),
        ("baseline:autokeras", False, None),
        ("logits:/a/b.npz", False, None),
        ("cnn-small", False, None),
    ],
)
def test_names_of_code_and_their_files(name: str, is_code: bool, file: Path | None) -> None:
    assert (code.is_code(name), code.file_of(name)) == (is_code, file)


def test_a_file_runs_once_and_its_hash_is_that_of_its_bytes(own: Path) -> None:
    assert code.hash_of(f"{own}:build") == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert code.load(f"{own}:build")().value == 3
    assert code.load(f"{own}:RUNS") == [1]
    assert code.hash_of("package.module:build") == ""


def test_an_edited_file_is_another_module(own: Path) -> None:
    before = code.load(f"{own}:build")
    own.write_text(SOURCE.replace("Thing(3)", "Thing(4)"))
    assert (before().value, code.load(f"{own}:build")().value) == (3, 4)


def test_pickled_objects_of_a_file_load_in_another_process(own: Path, tmp_path: Path) -> None:
    data = pickle.dumps(code.load(f"{own}:build")())
    (tmp_path / "thing").write_bytes(data)
    program = (
        "import pickle, sys; from kd.tools import code; code.load(sys.argv[1]);"
        " print(pickle.load(open(sys.argv[2], 'rb')).value)"
    )
    command = [sys.executable, "-c", program, f"{own}:build", str(tmp_path / "thing")]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout == "3\n"


def test_a_file_can_be_imported_under_a_module_name(own: Path) -> None:
    import importlib

    module, _, attribute = code.importable(f"{own}:build").partition(":")
    assert module == f"my_models_{hashlib.sha256(SOURCE.encode()).hexdigest()[:12]}"
    assert getattr(importlib.import_module(module), attribute)().value == 3
    assert code.importable("os.path:join") == "os.path:join"


def test_a_moved_file_is_found_by_its_name_in_kd_sweeps_code(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "/no/such/folder/my-models.py:build"
    with pytest.raises(CodeNotHere, match=r"cannot read /no/such/folder/my-models\.py: No such file"):
        code.hash_of(elsewhere)
    monkeypatch.setenv("KD_SWEEPS_CODE", str(tmp_path))
    assert code.is_there(elsewhere)
    assert code.load(elsewhere)().value == 3
    assert code.frozen(elsewhere) == elsewhere  # what a spec keeps does not depend on this machine


def test_the_path_is_frozen_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert code.frozen("./a/../mine.py:build") == f"{tmp_path}/mine.py:build"
    assert code.frozen("package.module:build") == "package.module:build"


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")
@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("1 / 0", "build", r"ZeroDivisionError: division by zero\. Write \./file\.py:function"),
        ("def build(:", "build", r"SyntaxError: invalid syntax \(mine\.py, line 1\); correct that line"),
        ("import sys; sys.exit(0)", "build", "SystemExit: 0"),
        ("x = 1", "build", r"/mine\.py has no attribute 'build'\. Write \./file\.py:function"),
        ("def build(): ...", "biuld", r"/mine\.py has no attribute 'biuld'; did you mean 'build'\?"),
        ("from . import other", "build", "known parent package; import a file beside it by its name"),
        ("import no_such_module", "build", "No module named 'no_such_module'.*must be installed, or on PYTHONPATH"),
        ("x = 1", "", "names no code; write package.module:function"),
        ("x = 1", "a b", "names no code"),
        ("\0", "build", "source code string cannot contain null bytes|SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_loaded_gives_a_one_line_error_and_leaves_no_module(
    tmp_path: Path, source: str, name: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(source)
    before = set(sys.modules)
    with pytest.raises(CodeError, match=message) as caught:
        code.load(f"{tmp_path}/mine.py:{name}")
    assert "\n" not in str(caught.value)
    if source == "1 / 0":
        assert not [module for module in {*sys.modules} - before if module.startswith("mine_")]


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.py").mkdir()
    with pytest.raises(CodeNotHere, match="is not a file"):
        code.load(f"{tmp_path}/x.py:build")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("path", "options", "line"),
    [
        ("", "--student my_code_here:build", "no module 'my_code_here' on this machine's Python path; a file of this"),
        (".", "--set source.dataset=my_code_here:load", "dataset 'my_code_here:load' raises OSError"),
    ],
    ids=["not on PYTHONPATH", "on PYTHONPATH"],
)
def test_python_m_finds_modules_of_the_current_folder_only_through_pythonpath(
    tmp_path: Path, path: str, options: str, line: str
) -> None:
    (tmp_path / "my_code_here.py").write_text("def load(): raise OSError\n\ndef build(input_shape, classes): ...")
    ended = subprocess.run(
        [sys.executable, "-m", "sweeps.cli", "create", "s", "--preset", "tiny", "--dry-run", *options.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(REPOSITORY)]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode > 0
    assert line in ended.stderr


@pytest.mark.parametrize("of_package", [True, False])
def test_only_the_folder_of_this_package_stays_on_the_path(
    of_package: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(REPOSITORY if of_package else tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    code.without_current_folder()
    assert (sys.path[0] == "") == of_package


def test_a_relative_folder_is_no_module() -> None:
    with pytest.raises(
        CodeError, match=r"'\./:build' names no code; write package\.module:function or \./file\.py:function"
    ):
        code.load("./:build")

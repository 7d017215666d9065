"""Names and extras: what each name loads, names added by other packages, and declared dependencies."""

import ast
import inspect
import re
import shutil
import sys
import tomllib
import typing
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sweeps import extensions
from sweeps.contrib.trackers import Tracker
from sweeps.errors import MissingExtra, SweepError
from sweeps.extensions import COMMANDS, ENGINES, EXTRAS, TRACKERS, TRAINERS
from sweeps.launch.engine import Engine, Request
from sweeps.trainers.protocol import TrainerKind
from tests.support.paths import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
ELSEWHERE = {"IPython", "pandas"}  # used only if a notebook or user code provides them
NOT_IMPORTED = {"python-multipart", "psutil"}  # never imported by our code; FastAPI imports the first


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_is_a_trainer_kind(name: str) -> None:
    assert TrainerKind in type(extensions.load("trainers", name)).__mro__


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_made_from_a_request(name: str) -> None:
    maker = extensions.load("engines", name)
    first = next(iter(inspect.signature(maker).parameters.values()))
    assert first.annotation is Request
    engine_class = maker if inspect.isclass(maker) else typing.get_type_hints(maker)["return"]
    assert {member for member in vars(Engine) if not member.startswith("_")} <= set(dir(engine_class)) | set(
        getattr(engine_class, "__annotations__", ())
    )


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_is_called_as_the_protocol_says(name: str) -> None:
    signature = inspect.signature(Tracker.__call__)
    (_, *parameters) = signature.parameters.values()
    assert inspect.signature(extensions.load("trackers", name)) == signature.replace(parameters=parameters)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_an_app_with_that_command(name: str) -> None:
    app = extensions.load("commands", name)
    assert isinstance(app, typer.Typer)
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert name in names | {group.name for group in app.registered_groups}


def test_every_name_has_a_line_of_help_and_an_extra_of_the_project() -> None:
    for row in (*TRAINERS.values(), *ENGINES.values(), *TRACKERS.values(), *COMMANDS.values()):
        assert row.help
        assert row.extra in ("", *EXTRAS)
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])


def _distributions(*extras: str) -> set[str]:
    """Return the packages that pyproject.toml requires for the base and these extras."""
    names: set[str] = set()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, lines):
        is_own = requirement.name == "kd-sweeps"
        names |= _distributions(*requirement.extras) if is_own else {canonicalize_name(requirement.name)}
    return names


_brought = cache(metadata.packages_distributions)  # a call takes a second


def _of_modules(modules: typing.Iterable[str]) -> dict[str, set[str]]:
    """Return the packages that provide each installed module."""
    known = _brought()
    return {name: {canonicalize_name(item) for item in known[name]} for name in modules if name in known}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_of_an_extra_belong_to_its_declared_packages(extra: str) -> None:
    brought = _of_modules(EXTRAS[extra].modules)
    declared = _distributions(extra) - _distributions()
    for module, names in brought.items():
        assert names & declared, f"{module} is not in the extra {extra}"
    if set(brought) == set(EXTRAS[extra].modules):
        assert declared - NOT_IMPORTED <= set().union(*brought.values())
    else:
        assert extra in ("mlflow", "wandb"), "only these extras are not installed in a clone"


def test_every_import_is_declared() -> None:
    imported: set[str] = set()
    for package in ("kd", "storage", "sweeps"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"kd", "storage", "sweeps"} - ELSEWHERE
    extras = {module for extra in EXTRAS.values() for module in extra.modules}
    # Installed by another declared package, whose version range applies.
    follows = {"starlette": "fastapi", "anyio": "fastapi", "pydantic_core": "pydantic"}
    brought = _of_modules({follows.get(name, name) for name in foreign} - extras)
    assert {module for module, names in brought.items() if not names & _distributions()} == set()
    assert len(brought) > 5


def test_a_missing_extra_gives_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    extensions.require("report", "it")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not extensions.is_installed("report")
    with pytest.raises(MissingExtra, match=r"^it needs more packages: pip install 'kd-sweeps\[report\]'$"):
        extensions.require("report", "it")


def test_a_failing_import_names_the_extra_and_other_import_errors_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needs_ray.py").write_text("import ray\nengine = 1\n")
    (tmp_path / "mistaken.py").write_text("import no_such_module_of_ours\n")
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("needs_ray", "mistaken"):
        monkeypatch.setitem(ENGINES, name, extensions.Named(f"{name}:engine", "ray", "a test"))  # type: ignore[arg-type]
    with pytest.raises(MissingExtra, match=r"^needs_ray needs more packages: pip install 'kd-sweeps\[ray\]'$"):
        extensions.load("engines", "needs_ray")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"):
        extensions.load("engines", "mistaken")


OTHER = """\
import typer

app = typer.Typer()

@app.command()
def hello(name: str) -> None:
    print(f"hello, {name}")

class Engine: ...

def tracker(): ...
"""
ENTRY_POINTS = """\
[kd_sweeps.trainers]
digits = digits_trainer:KIND
kd = digits_trainer:KIND

[kd_sweeps.engines]
cloud = other_package:Engine

[kd_sweeps.trackers]
notes = other_package:tracker

[kd_sweeps.commands]
hello = other_package:app
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder like one installed by pip, with the package of another author and its metadata."""
    folder = tmp_path / "site"
    info = folder / "other_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "other_package.py").write_text(OTHER)
    shutil.copy(REPOSITORY / "tests" / "examples" / "digits_trainer.py", folder)
    return folder


def test_another_package_adds_names_and_replaces_none(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package)
    kind = extensions.trainer_kind("digits")
    assert type(kind).__name__ == "DigitsKind"
    assert type(extensions.trainer_kind("kd")).__name__ == "Distillation", "our names win"
    assert extensions.names("trainers") == ["kd", "custom", "digits"]
    assert extensions.load("engines", "cloud").__name__ == "Engine"
    assert extensions.names("trackers") == ["mlflow", "wandb", "notes"]
    assert extensions.load("trackers", "notes").__name__ == "tracker"
    with pytest.raises(ValueError, match=r"^allowed: kd, custom, digits, package\.module:KIND or \./file\.py:KIND$"):
        extensions.trainer_kind("digit")


def test_a_sweep_with_a_trainer_of_another_package_is_planned(
    package: Path, monkeypatch: pytest.MonkeyPatch, kd_sweeps: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.syspath_prepend(package)
    Path("own.toml").write_text(
        'trainer.kind = "digits"\nsource.dataset = "digits"\nsearch.trials = 4\nconfirm.rounds = [[2, 1]]\n'
        "transfer.seeds = 3\n"
    )
    assert kd_sweeps("create", "d", "own.toml")[0] == 0
    code, out, _ = kd_sweeps("trials", "d", "-f", "csv")
    assert (code, len(out.splitlines())) == (0, 14)


def test_a_command_of_another_package_is_listed_and_runs(
    package: Path, monkeypatch: pytest.MonkeyPatch, kd_sweeps: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.syspath_prepend(package)
    assert kd_sweeps("hello", "you") == (0, "hello, you\n", "")
    assert re.search(r"^\s+hello\b", kd_sweeps("--help")[1], re.MULTILINE)
    code, _, err = kd_sweeps("hallo")
    assert (code, "No such command 'hallo'" in err) == (2, True)


def test_a_broken_package_gives_a_one_line_error_and_help_still_works(
    package: Path, monkeypatch: pytest.MonkeyPatch, kd_sweeps: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.syspath_prepend(package)
    (package / "broken.py").write_text("import no_such_module\n")
    points = "broken = broken:it\nplain = other_package:tracker\n"
    (package / "other_package-1.0.dist-info" / "entry_points.txt").write_text(
        f"[kd_sweeps.trainers]\n{points}[kd_sweeps.commands]\n{points}"
    )
    lacks = "ModuleNotFoundError: No module named 'no_such_module'"
    why = f"broken of the package other-package cannot be imported: {lacks}"
    with pytest.raises(SweepError, match=f"^{why}$"):
        extensions.trainer_kind("broken")
    assert kd_sweeps("broken") == (1, "", f"kd-sweeps: {why}\n")
    code, out, err = kd_sweeps("--help")
    assert (code, "doctor" in out, "broken" in out, "plain" in out) == (0, True, False, False)
    assert err.splitlines() == [
        f"not listed: {why}",
        "not listed: the command plain of another package is a function, not a typer.Typer",
    ]
    Path("own.toml").write_text('trainer.kind = "broken"\nsource.dataset = "digits"\n')
    assert kd_sweeps("create", "d", "own.toml") == (1, "", f"kd-sweeps: {why}\n")

"""The wheel: complete, and enough to run a sweep from any folder without the clone.

The environment is new and holds the wheel alone. The packages it depends on are read from the environment that runs the
tests, by a path file: every `make run` in a clean clone installs them from the lock, and installing 2.5 GB again would
take minutes. This project's own code comes from the wheel alone: the editable install is not followed.
"""

import json
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.wheel import PACKAGES, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a new environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, folder=folder)
    programs = folder / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_passes_twine_and_check_wheel_contents(wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, folder=wheel.parent)
    run(
        sys.executable,
        "-m",
        "check_wheel_contents",
        "--config",
        REPOSITORY / "pyproject.toml",
        wheel,
        folder=wheel.parent,
    )


def test_the_wheel_holds_modules_templates_types_and_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    ours = {name for name in names if ".dist-info/" not in name}
    kinds = ("*.py", "templates/*", "py.typed")
    paths = {path for name in PACKAGES for kind in kinds for path in (REPOSITORY / name).rglob(kind)}
    assert ours == {str(path.relative_to(REPOSITORY)) for path in paths}
    assert {"sweeps/report/templates/page.html", "sweeps/contrib/server/templates/live.js"} <= ours
    assert any(name.endswith("licenses/LICENSE") for name in names)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [line for line in fields.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(requirements) == len(project["dependencies"])
    assert (fields["License-Expression"], fields["Requires-Python"]) == ("Apache-2.0", "<3.14,>=3.11")


def test_the_packages_match_the_wheel_and_are_typed(environment: Path, tmp_path: Path) -> None:
    program = "import json, kd, storage, sweeps; print(json.dumps([m.__file__ for m in (kd, storage, sweeps)]))"
    files = [Path(name) for name in json.loads(run(environment / "python", "-c", program, folder=tmp_path).stdout)]
    for file in files:
        assert file.is_relative_to(environment.parent)
        assert (file.parent / "py.typed").is_file()


def test_preset_tiny_runs_from_any_folder(environment: Path, tmp_path: Path, shared_data: Path) -> None:
    weights = {"KERAS_HOME": str(shared_data / "keras")}  # for MobileNet's weights, without a download
    result = run(environment / "kd-sweeps", "run", "tiny", "--preset", "tiny", folder=tmp_path, **weights)
    assert "Smoke test: checks the installation" in result.stdout
    assert "63 of 63 tasks done" in result.stdout
    assert (tmp_path / "kd-sweeps.db").is_file()
    assert (tmp_path / "tiny-report" / "report.html").is_file()
    audit = run(environment / "kd-sweeps", "status", "tiny", "--audit", folder=tmp_path)
    assert "0 violations, 0 warnings" in audit.stdout


def test_uninstalling_leaves_no_file_of_ours(environment: Path, tmp_path: Path) -> None:
    run(environment / "python", "-m", "pip", "uninstall", "--yes", "kd-sweeps", folder=tmp_path)
    (site,) = environment.parent.glob("lib/python*/site-packages")
    assert not [name for name in PACKAGES if (site / name).exists()]
    assert not (environment / "kd-sweeps").exists()

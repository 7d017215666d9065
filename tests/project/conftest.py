"""The wheel, built once."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.wheel import PACKAGES, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the source tree, which leaves the clone untouched."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    (source / "tests").mkdir()
    (source / "tests" / "test_nothing.py").touch()  # must not get into the wheel
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source, folder=source)
    (built,) = target.glob("*.whl")
    return built

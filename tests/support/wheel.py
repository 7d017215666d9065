"""The wheel of this clone, and programs that run outside the clone."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY, clean_environment

PACKAGES = ("kd", "storage", "sweeps")


def run(
    *command: str | Path, folder: Path, codes: tuple[int, ...] = (0,), **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command outside the clone; its exit code must be one of `codes`."""
    kept = clean_environment("PYTHONPATH")
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=kept | more, capture_output=True, text=True, check=False
    )
    assert done.returncode in codes, f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def built(source: Path, target: Path) -> Path:
    """Build the wheel from a copy of the source tree, which leaves the clone untouched."""
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    (source / "tests").mkdir()
    (source / "tests" / "test_nothing.py").touch()  # must not get into the wheel
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source, folder=source)
    (wheel,) = target.glob("*.whl")
    return wheel

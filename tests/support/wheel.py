"""The packages of the wheel, and programs that run outside the clone."""

import subprocess
from pathlib import Path

from tests.support.paths import clean_environment

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

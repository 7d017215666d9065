"""The packages of the wheel, and programs that run outside the clone."""

import subprocess
from pathlib import Path

from tests.support.paths import clean_environment

PACKAGES = ("kd", "storage", "sweeps")


def run(
    *command: str | Path, folder: Path, codes: tuple[int, ...] = (0,), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command outside the clone; its exit code must be one of `codes`."""
    env = clean_environment("PYTHONPATH")
    process = subprocess.run(
        [str(word) for word in command], cwd=folder, env=env | variables, capture_output=True, text=True, check=False
    )
    assert process.returncode in codes, (
        f"{command}: {process.returncode}\n{process.stdout[-2000:]}\n{process.stderr[-2000:]}"
    )
    return process

"""Where the repository and the programs of the tests are."""

import os
import sys
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
MADE = "KD_SWEEPS_TEST_MADE"  # the variable with the folder of sweeps that all processes of a session share


def clean_environment(*prefixes: str) -> dict[str, str]:
    """Return the variables of this process except those that begin with KD_SWEEPS, OPTUNA or one of `prefixes`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("KD_SWEEPS", "OPTUNA", *prefixes))}


def programs(folder: Path) -> Path:
    """Write the programs `python` and `kd-sweeps` of this checkout to a folder for PATH, and return it."""
    folder.mkdir(exist_ok=True)
    for name, module in (("kd-sweeps", "-m sweeps.cli"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (folder / name).chmod(0o755)
    return folder

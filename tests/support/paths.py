"""Where the repository and the programs of the tests are."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
MADE = "KD_SWEEPS_TEST_MADE"  # the variable with the folder of sweeps that all processes of a session share

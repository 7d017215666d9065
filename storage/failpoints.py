"""Crash on purpose between two steps, for the tests; apart, since every room has steps and this imports none."""

import os
import signal
from collections import Counter

VARIABLE = "KD_SWEEPS_FAILPOINT"

POINTS = {
    "worker": ("claimed", "saved", "ran", "finished"),
    "mirror": ("drawing", "drawn", "attributes", "ended"),
    "create": ("create-locked", "create-tables", "study-named", "study-made", "studies-made"),
    "delete": ("delete-cancelled", "delete-studies"),
    "upgrade": ("upgrade-copying", "upgrade-copied", "upgrade-step", "upgrade-done"),
    "import": ("study-named", "study-made", "studies-made", "import-studies", "import-rows", "import-done"),
}

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here as by `kill -9` if KD_SWEEPS_FAILPOINT names this point; with "saved:3" at the third time."""
    wanted, _, nth = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)

"""Crash on purpose between two steps, for tests; a module without imports, since every room uses it."""

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
    """Kill this process, as `kill -9` does, if KD_SWEEPS_FAILPOINT names this point; "saved:3": the third time."""
    wanted, _, nth = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)

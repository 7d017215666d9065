"""Classify why an attempt failed: the class decides how often a task is tried again, and whether a worker stops."""

import errno
import tempfile

from kd.errors import Diverged, NotHere, SubprocessKilled, Unavailable, lacks_room
from storage.errors import StorageFull, Unreachable
from storage.tables import LOST
from sweeps.errors import StepTimeout
from sweeps.plan.payloads import BaselineTask, Payload
from sweeps.spec.model import Spec

MACHINE = "machine"
"""What this machine lacks: the attempt counts nowhere, and its worker stops, since every task would end so."""

STOPPING = (MACHINE, "memory")
"""Classes after which a worker stops: only another one may then fail the task."""

INFRASTRUCTURE = ("database",)
"""Classes that say more about the machine than about the task; several in a row stop a worker."""

_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def class_of(error: Exception, task: Payload | None = None) -> str:
    """Return "machine", "memory", "database", "timeout", "nan", "unavailable", or "error" for a mistake in a program.

    A baseline whose weights are missing is "unavailable": the sweep goes on without it. A teacher's are not.
    """
    if isinstance(error, Unavailable) and (isinstance(task, BaselineTask) or not isinstance(error, NotHere)):
        return "unavailable"
    # An ImportError of anything: an environment that is being made anew, or a module of the user's that another has.
    if isinstance(error, (NotHere, ImportError, StorageFull)):
        return MACHINE
    if lacks_room(error):
        return MACHINE if isinstance(error, OSError) else "memory"
    if isinstance(error, StepTimeout):
        return "timeout"
    if isinstance(error, Diverged):
        return "nan"
    if isinstance(error, SubprocessKilled):
        return "memory"
    return "database" if isinstance(error, Unreachable) else "error"


def lack_of(error: Exception) -> str:
    """Return what a machine lacks and what to do about it, in one line."""
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        where = tempfile.gettempdir()
        return f"{error}; temporary files go to {where}: free space there, or name another folder: export TMPDIR=DIR"
    return str(error)


def cap_of(kind: str, spec: Spec) -> int | None:
    """Return how many attempts of a task may end with this class before the task has failed; None = no limit."""
    caps = spec.retry
    cap = {
        LOST: caps.lost_worker,
        MACHINE: 0,
        "memory": caps.memory,
        "database": caps.database,
        "timeout": caps.timeout,
        "nan": caps.nan,
        "error": caps.error,
        "unavailable": 1,  # trying again finds the same missing file
    }[kind]
    return cap or None

"""The errors of kd, all below one root class.

Every message is for the person at the terminal: the value given, what is allowed, what to type next.
"""

import difflib
import errno
from collections.abc import Iterable


class KdError(Exception):
    """An expected failure of kd; `str(error)` is ready to be shown."""


class DataError(KdError):
    """A dataset cannot be obtained from any source, or a file does not hold a valid one."""


class ModelError(KdError):
    """A model name is unknown, or the model does not fit the images it is asked to take."""


class Diverged(KdError):
    """A training whose loss or logits are no longer finite; the message names T, alpha and seed."""


class Unavailable(KdError):
    """A baseline cannot run here, and the sweep goes on without it; the message says why and what to type."""


class NotHere(KdError):
    """Something is missing on this machine; where a task is concerned, the machine is to blame and not the task."""


class CodeError(KdError):
    """A user's own code cannot be loaded, or has no such attribute."""


class CodeNotHere(CodeError, NotHere):
    """The module or the file of a user's own code is missing here."""


class DataNotHere(DataError, NotHere):
    """The code or the package that makes a dataset is missing here."""


class ModuleNotHere(ModelError, NotHere):
    """The module of a user's model cannot be imported here."""


class WeightsNotHere(Unavailable, NotHere):
    """The weights of a pretrained network, or a package that a method needs, are missing here."""


class SubprocessFailed(KdError):
    """A child process (a teacher, AutoKeras, a conversion) ended without a result."""


class SubprocessKilled(SubprocessFailed):
    """A child process was killed; the system does that when memory runs out."""


_OF_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)


def lacks_room(error: BaseException) -> bool:
    """Return whether this machine has no room: a full disk, no memory, too many open files. No program is to blame.

    TensorFlow's own class is known by its name: a worker whose children train has not imported TensorFlow.
    """
    of_machine = isinstance(error, OSError) and error.errno in _OF_MACHINE
    return of_machine or isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def without_room(what: str, error: Exception) -> KdError | None:
    """Return the error that says that this machine had no disk for `what`, where that is so; else None.

    Memory is another thing: how much of it is used is up to the function.
    """
    if not isinstance(error, OSError) or not lacks_room(error):
        return None
    return NotHere(f"{what} finds no room on this machine: {told(error)}")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return how a message goes on after an unknown name: "; did you mean 'this'?" where one is close, else "."."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def told(error: BaseException) -> str:
    """Return what an error of other code says, in one line of at most 300 characters: its class and first paragraph."""
    paragraph = " ".join(str(error).strip().partition("\n\n")[0].split())
    text = f"{type(error).__name__}: {paragraph}" if paragraph else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."

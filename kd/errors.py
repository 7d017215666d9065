"""Define the errors of kd, all below one root class.

Every message is for the person at the terminal: the value, the allowed ones, what to type next.
"""

import difflib
import errno
from collections.abc import Iterable, Mapping


class KdError(Exception):
    """An expected failure of kd; `str(error)` is fit for a user."""


class DataError(KdError):
    """A dataset cannot be obtained from any source, or a file does not hold a valid one."""


class ModelError(KdError):
    """A model name is unknown, or the model does not fit the images."""


class Diverged(KdError):
    """The loss or the logits of a training are no longer finite; the message names T, alpha and seed."""


class Unavailable(KdError):
    """A baseline cannot run here, and the sweep continues without it; the message says why and what to type."""


class NotHere(KdError):
    """This machine lacks something that a task needs: the fault is the machine's, not the task's."""


class CodeError(KdError):
    """A user's code cannot be loaded, or has no such attribute."""


class CodeNotHere(CodeError, NotHere):
    """The module or the file of a user's code is missing here."""


class DataNotHere(DataError, NotHere):
    """The code or the package that makes a dataset is missing here."""


class ModuleNotHere(ModelError, NotHere):
    """The module of a user's model cannot be imported here."""


NOT_HERE: Mapping[type[KdError], type[NotHere]] = {
    CodeError: CodeNotHere,
    DataError: DataNotHere,
    ModelError: ModuleNotHere,
}
"""The error for code that is missing here, by the error for code that is broken."""


class WeightsNotHere(Unavailable, NotHere):
    """The weights of a pretrained network, or a package that a method needs, are missing here."""


class SubprocessFailed(KdError):
    """A child process (a teacher, AutoKeras, a conversion) ended without a result."""


class SubprocessKilled(SubprocessFailed):
    """A child process was killed; the system does that when memory runs out."""


_MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)


def lacks_room(error: BaseException) -> bool:
    """Return whether this machine is at its limits: a full disk, no memory, too many open files.

    TensorFlow's class is recognized by name, because a worker whose children train has not imported TensorFlow.
    """
    of_machine = isinstance(error, OSError) and error.errno in _MACHINE_ERRORS
    return of_machine or isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def without_room(what: str, error: Exception) -> KdError | None:
    """Return an error that blames the full disk of this machine, if `what` failed for that; else None.

    Memory does not count: how much of it is used is up to the user's function.
    """
    if not isinstance(error, OSError) or not lacks_room(error):
        return None
    return NotHere(f"{what} finds no room on this machine: {describe_error(error)}")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return what follows an unknown name in a message: "; did you mean 'this'?" if one is close, else "."."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def describe_error(error: BaseException) -> str:
    """Return an error as one line of at most 300 characters: its class and the first paragraph of its text."""
    paragraph = " ".join(str(error).strip().partition("\n\n")[0].split())
    text = f"{type(error).__name__}: {paragraph}" if paragraph else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."

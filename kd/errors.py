"""Define the errors of kd, all below one root class.

KdError
├── DataError          a dataset cannot be obtained, or a file does not hold a valid one
├── ModelError         the model is unknown, or does not fit the images
├── Diverged           the loss of a training is no longer finite
├── Unavailable        a baseline cannot run on this machine; the sweep goes on without it
├── NotHere            what is missing here, another machine may have
│   ├── ModuleNotHere  (a ModelError) the module of a user's model
│   └── WeightsNotHere (an Unavailable) weights of a pretrained network, or a package
└── SubprocessFailed   a child process (teacher, AutoKeras, conversion) ended without a result
    └── SubprocessKilled   it was killed from outside, most often because memory ran out

Every message is for the person at the terminal: the value given, what is allowed, what to type next.
"""

__all__ = [
    "DataError",
    "Diverged",
    "KdError",
    "ModelError",
    "ModuleNotHere",
    "NotHere",
    "SubprocessFailed",
    "SubprocessKilled",
    "Unavailable",
    "WeightsNotHere",
    "told",
]


class KdError(Exception):
    """An expected failure of kd; `str(error)` is ready to be shown."""


class DataError(KdError):
    """A dataset cannot be obtained from any source, or a file does not hold a valid one."""


class ModelError(KdError):
    """A model name is unknown, or the model does not fit the images it is asked to take."""


class Diverged(KdError):
    """A training whose loss or logits are no longer finite; the message names T, alpha and seed."""


class Unavailable(KdError):
    """A baseline cannot run here; the message says why and what to type to change that."""


class NotHere(KdError):
    """Something is missing on this machine; where a task is concerned, the machine is to blame and not the task."""


class ModuleNotHere(ModelError, NotHere):
    """The module of a user's model cannot be imported here."""


class WeightsNotHere(Unavailable, NotHere):
    """The weights of a pretrained network, or a package that a method needs, are missing here."""


class SubprocessFailed(KdError):
    """A child process ended without a result."""


class SubprocessKilled(SubprocessFailed):
    """A child process was killed; the system does that when memory runs out."""


def told(error: BaseException) -> str:
    """Return what somebody else's error says, in one line of at most 300 characters: its class and first paragraph."""
    paragraph = " ".join(str(error).strip().partition("\n\n")[0].split())
    text = f"{type(error).__name__}: {paragraph}" if paragraph else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."

"""What can go wrong in kd, one root class.

KdError
├── DataError     a dataset cannot be had, or what was found is not one
├── ModelError    no such model, or it does not fit the images
├── Diverged      a training whose loss is no longer finite
└── Unavailable   a baseline cannot run on this machine; the sweep goes on without it

Every message is for the person at the terminal: the value got, what is allowed, what to type next.
"""

__all__ = ["DataError", "Diverged", "KdError", "ModelError", "Unavailable"]


class KdError(Exception):
    """An expected failure of kd; `str(error)` is ready to be shown."""


class DataError(KdError):
    """A dataset cannot be had from any source, or the file found is not a valid dataset."""


class ModelError(KdError):
    """A model name is unknown, or the model does not fit the images it is asked to take."""


class Diverged(KdError):
    """A training whose loss or logits are no longer finite; the message names T, alpha and seed."""


class Unavailable(KdError):
    """A baseline cannot run here; the message says why and what to type to change that."""

"""The expected errors of a sweep, raised in every room.

A command exits with 1, unless the class names 2 or 3.
"""


class SweepError(Exception):
    """Base of this package's expected errors; the message is one line for the user."""


class SpecError(SweepError):
    """A spec, preset or sweep name that cannot be used: a usage error, exit code 2."""


class AnotherSpec(SpecError):
    """A sweep of that name is there, with another spec."""


class MissingExtra(SweepError):
    """Packages of an extra of kd-sweeps are not installed here, exit code 2; see `sweeps.extensions.require`."""


class NotThere(SweepError):
    """The requested item is not part of the sweep, or not of this service."""


class NotAllowed(SweepError):
    """A service does not let this client do that."""


class UnreadableRuns(SweepError):
    """Results made elsewhere that cannot be read, or compared."""


class NoResultsYet(SweepError):
    """Nothing has been completed that could answer the question: exit code 3."""


class Interrupted(SweepError):
    """The process was asked to stop between two steps; the task goes back, and its attempt does not count."""


class StepTimeout(SweepError):
    """A task made no step for its deadline: its attempt has failed."""


class TrainingFailed(SweepError):
    """A custom training returned no score; the message says what it returned."""


class LeaseLost(SweepError):
    """The lease of the attempt lapsed, and another worker took the task: its result is dropped."""

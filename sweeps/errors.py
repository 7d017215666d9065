"""Expected errors, without imports, since every room raises them.

A command exits with code 1 for each, unless its class says 2 or 3.
"""


class SweepError(Exception):
    """Base of this package's expected errors; the message is one line for the user."""


class SpecError(SweepError):
    """A spec, preset or sweep name that cannot be used: a usage error, exit code 2."""


class AnotherSpec(SpecError):
    """A sweep of that name exists with another spec."""


class MissingExtra(SweepError):
    """Packages of an extra of kd-sweeps are not installed here, exit code 2; see `sweeps.extensions.require`."""


class NotThere(SweepError):
    """The requested item is not in the sweep, or not in this service."""


class NotAllowed(SweepError):
    """A service refuses the request of this client."""


class UnreadableRuns(SweepError):
    """Results of other programs cannot be read or compared."""


class NoResultsYet(SweepError):
    """The sweep has no result yet for this query: exit code 3."""


class Interrupted(SweepError):
    """The process was asked to stop; the task is released, and its attempt does not count."""


class StepTimeout(SweepError):
    """A task made no step before its deadline: its attempt has failed."""


class TrainingFailed(SweepError):
    """A user's training returned no score; the message says what it returned."""


class LeaseLost(SweepError):
    """The lease of the attempt lapsed, and another worker took the task: its result is dropped."""

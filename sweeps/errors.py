"""The expected errors of a sweep. Apart from all else: every room raises them.

SweepError            one clear line; the command exits 1
├── SpecError         the spec is not one we can run: usage, exit 2
│   └── AnotherSpec   a sweep of that name has another one
├── MissingExtra      packages of an extra are not installed here: usage, exit 2
├── NotThere          the sweep has no such task
├── NotAllowed        this client may not do that
├── NoResultsYet      a question came before its answer: exit 3
├── Interrupted       a stop was asked for; the task goes back, its attempt does not count
├── StepTimeout       a task made no step for its deadline: its attempt has failed
└── LeaseLost         another worker took the task; this attempt's result is dropped
"""


class SweepError(Exception):
    """Base of this package's expected errors; the message is one line for the user."""


class SpecError(SweepError):
    """A spec, preset or sweep name that cannot be used."""


class AnotherSpec(SpecError):
    """A sweep of that name is there, with another spec."""


class MissingExtra(SweepError):
    """Packages of an extra of kd-sweeps are not installed here; see `sweeps.extensions.require`."""


class NotThere(SweepError):
    """What was asked for is not part of the sweep, or not of this service."""


class NotAllowed(SweepError):
    """A service does not let this client do that."""


class NoResultsYet(SweepError):
    """Nothing has been completed that could answer the question."""


class Interrupted(SweepError):
    """The process was asked to stop between two steps."""


class StepTimeout(SweepError):
    """A task made no step for its deadline."""


class LeaseLost(SweepError):
    """The lease of the attempt lapsed, and another worker took the task."""

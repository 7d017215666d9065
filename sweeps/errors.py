"""The expected errors of a sweep.

SweepError            one clear line; the command exits 1
├── SpecError         the spec is not one we can run: usage, exit 2
├── NoResultsYet      a question came before its answer: exit 3
├── Interrupted       a stop was asked for; the task goes back, its attempt does not count
├── StepTimeout       a task made no step for its deadline: its attempt has failed
└── LeaseLost         another worker took the task; this attempt's result is dropped
"""


class SweepError(Exception):
    """Base of this package's expected errors; the message is one line for the user."""


class SpecError(SweepError):
    """A spec, preset or sweep name that cannot be used."""


class NoResultsYet(SweepError):
    """Nothing has been completed that could answer the question."""


class Interrupted(SweepError):
    """The process was asked to stop between two steps."""


class StepTimeout(SweepError):
    """A task made no step for its deadline."""


class LeaseLost(SweepError):
    """The attempt is no longer ours: its lease lapsed and another worker took the task."""

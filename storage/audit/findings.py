"""One thing that the audit found."""

from dataclasses import dataclass

from storage.errors import NextStep


@dataclass(frozen=True)
class Finding:
    """What was found, in one line, and what may be done about it, best first."""

    text: str
    next_steps: tuple[NextStep, ...] = ()

"""How the end of a task is told: in a word of its own where a method cannot run here."""

from collections.abc import Collection

UNAVAILABLE = "unavailable"
"""The error class of what this machine does not have, such as weights; and the state that is shown for it."""


def shown_state(stage: str, state: str, error_class: str | None) -> str:
    """Return the state of a task as people see it: as stored, but "unavailable" for what cannot run on this machine.

    The sweep is finished without it. Without a teacher it is not: that is a failure, whatever the cause.
    """
    return UNAVAILABLE if (state, error_class) == ("failed", UNAVAILABLE) and stage != "teachers" else state


def shown_stage(stage: str, stages: Collection[str]) -> str:
    """Return what a stage is called: without a native search nothing is transferred, the arms are only compared.

    Args:
        stages: those of the sweep that have tasks.
    """
    return "compare" if stage == "transfer" and "native" not in stages else stage

"""What a phase waits for: the success of an earlier phase, or its end alone."""

from dataclasses import dataclass

_MARK = "?"  # after the name, as the database stores it


@dataclass(frozen=True)
class Need:
    """An earlier phase that has to end first.

    Attributes:
        phase: its name.
        after_any_end: whether a failed or skipped one will do as well; otherwise the waiting phase is skipped with it.
    """

    phase: str
    after_any_end: bool = False

    def stored(self) -> str:
        """Return the text that the database holds: "search", or "baselines?" for after_any_end."""
        return self.phase + _MARK * self.after_any_end


def parse_need(text: str) -> Need:
    """Return the need that `Need.stored` wrote."""
    return Need(text.removesuffix(_MARK), after_any_end=text.endswith(_MARK))

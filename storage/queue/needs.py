"""What a phase waits for: the success of an earlier phase, or its end alone; and what its own tasks wait for."""

from collections.abc import Iterable
from dataclasses import dataclass

_MARK = "?"  # after the name, as the database stores it
_LAG = "lag:"  # no phase: begins what the database stores of a lag


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


@dataclass(frozen=True)
class Lag:
    """What the tasks of a phase wait for: task i is ready once tasks 0 to i - lag of the phase have ended.

    Whatever finishes first, task i then starts when the same earlier tasks have ended.

    Attributes:
        lag: >= 1; 1 is one after another.
        first: the first `first` tasks wait for nothing.
    """

    lag: int
    first: int = 0

    def stored(self) -> str:
        """Return the text that the database holds among the needs."""
        return f"{_LAG}{self.lag}:{self.first}"


def parse_needs(texts: Iterable[str]) -> list[Need]:
    """Return the needs that `Need.stored` wrote; a lag is none."""
    return [
        Need(text.removesuffix(_MARK), after_any_end=text.endswith(_MARK))
        for text in texts
        if not text.startswith(_LAG)
    ]


def parse_lag(texts: Iterable[str]) -> Lag | None:
    """Return the lag that `Lag.stored` wrote; None if there is none."""
    for text in texts:
        if text.startswith(_LAG):
            lag, first = text.removeprefix(_LAG).split(":")
            return Lag(int(lag), int(first))
    return None

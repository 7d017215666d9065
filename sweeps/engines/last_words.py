"""Read what a worker said last."""

from sweeps.workers.logs import read_line

_SAID_WHY = (0, 1, 2, 3)  # exit codes of a worker whose last line says how it ended


def last_words(log: str | None, code: int | None, count: int) -> list[str]:
    """Return the last lines of a worker's log, as people read them; none if there is no log.

    Of one that did not end by an error that it said - it was killed, or left by an exit code that is none of ours -
    whatever libraries printed is left out: it had no time for a last word of its own.
    """
    lines = [read_line(line) for line in (log or "").splitlines() if line.strip()]
    ours = [line for line in lines if line.ours] if (code or 0) not in _SAID_WHY else []
    return [text for line in ours or lines for text in line.text.splitlines()][-count:]

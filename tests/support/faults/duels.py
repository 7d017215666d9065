"""Duels: two processes call into one database at the same instant, round after round. Imports no pytest."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.url import resolve
from tests.support.sweeps.small_sweeps import FORK

Move = Callable[[Engine], Any]

_TICK_S = 0.002
_barrier: Barrier


@contextmanager
def opponents() -> Iterator[ProcessPoolExecutor]:
    """Start two processes for `duel`."""
    with ProcessPoolExecutor(2, mp_context=FORK, initializer=_meet, initargs=(FORK.Barrier(2),)) as pool:
        yield pool


def duel(
    pool: ProcessPoolExecutor, url: str, first: Sequence[Move], second: Sequence[Move], *, late_s: float = 0.0
) -> tuple[list[Any], list[Any]]:
    """Return the results of both opponents, by round; both moves of a round begin at the same instant.

    Args:
        first, second: picklable, of the same length.
        late_s: delay of the first opponent in the last round; earlier rounds have less. Without it, an opponent whose
            move is faster would win every round.
    """
    futures = [pool.submit(_play, url, moves, late) for moves, late in ((first, late_s), (second, 0.0))]
    return futures[0].result(), futures[1].result()


def _meet(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _play(url: str, moves: Sequence[Move], late_s: float) -> list[Any]:
    engine = open_engine(resolve(url))
    results = []
    for number, move in enumerate(moves):
        _barrier.wait(60)
        # The last one at the barrier runs on at once and the other has to wake up, so both wait for the next tick.
        instant = math.ceil(time.time() / _TICK_S + 0.5) * _TICK_S
        instant += late_s * (number / len(moves)) ** 2
        while time.time() < instant:
            pass
        results.append(move(engine))
    engine.dispose()
    return results

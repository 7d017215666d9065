"""Duels: two processes call into the same database at the same instant, round after round. Imports no pytest."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from sqlalchemy import Engine

from storage.engine import open_engine
from storage.url import resolve

_ROUND_S = 0.02
Move = Callable[[Engine], Any]


def duel(
    pool: ProcessPoolExecutor, url: str, first: Sequence[Move], second: Sequence[Move]
) -> tuple[list[Any], list[Any]]:
    """What the n-th move of both processes of the pool gave, both called at one instant.

    Args:
        first, second: picklable.
    """
    for ready in [pool.submit(time.sleep, 0.5) for _ in range(2)]:  # both processes are up and have imported
        ready.result()
    at = time.time() + 1.0
    jobs = [pool.submit(_play, url, moves, at) for moves in (first, second)]
    one, other = (job.result() for job in jobs)
    return one, other


def _play(url: str, moves: Sequence[Move], at: float) -> list[Any]:
    engine = open_engine(resolve(url))
    results = []
    for number, move in enumerate(moves):
        # Awake already when the instant comes: whoever sleeps is woken up to a millisecond late.
        while time.time() < at + number * _ROUND_S:
            pass
        results.append(move(engine))
    engine.dispose()
    return results

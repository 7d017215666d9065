"""Free ports of 127.0.0.1 for the servers of a test. Imports nothing from the product."""

import contextlib
import random
import socket


def free_ports(number: int = 1) -> list[int]:
    """Return ports that stay free until something listens there.

    They lie below the range that systems assign to clients: a client that keeps retrying a port of that range, while
    nothing listens there, is eventually assigned that very port and then talks to itself.
    """
    free: list[int] = []
    for port in random.sample(range(20_000, 32_000), 100 + number):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == number:
            return free
    raise AssertionError(f"no {number} free ports between 20000 and 32000")

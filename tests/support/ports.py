"""Free ports of 127.0.0.1 for the servers of a test. Imports nothing of the product."""

import contextlib
import random
import socket


def free_ports(number: int = 1) -> list[int]:
    """Ports that stay free until something listens there.

    From below the range that systems hand out to clients: a client that tries again and again to reach a port of
    that range, while nothing listens there, is sooner or later given that very port and then talks to itself.
    """
    free: list[int] = []
    for port in random.sample(range(20_000, 32_000), 100 + number):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == number:
            return free
    raise AssertionError(f"no {number} free ports between 20000 and 32000")

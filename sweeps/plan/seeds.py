"""Derive every random seed of a sweep, so that any trial can be replayed on its own."""

import hashlib


def derive(seed: int, *path: str | int) -> int:
    """Return a seed in [0, 2**31) for one purpose, named by a path such as ("student", "transfer", 3).

    A hash rather than seed + 1, seed + 2: neighbouring sweeps and purposes never share a stream.
    """
    text = "/".join([str(seed), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

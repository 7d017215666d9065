"""One thing that an archive claims."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that a file claims. differs: what it holds instead, in a few words; "" if it is as claimed."""

    what: str
    differs: str = ""

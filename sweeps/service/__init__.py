"""The use cases behind the commands: one function for each.

It imports every room below; `sweeps.cli` and `sweeps.api` may import it.
"""

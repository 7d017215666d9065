"""The use cases behind the commands: one function for each.

It imports every room below; `sweeps.cli`, `sweeps.python` and `sweeps.api` may import it.
"""

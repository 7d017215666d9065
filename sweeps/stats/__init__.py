"""Statistics as pure functions of numbers: estimates, bounds, the verdict.

It imports nothing of this project; every other room of `sweeps` may import it, and `bench/null.py` simulates it.
"""

"""Compute estimates, confidence bounds and the verdict from plain numbers.

This package imports nothing else of this project; every other package of `sweeps` may import it, and `bench/null.py`
simulates it.
"""

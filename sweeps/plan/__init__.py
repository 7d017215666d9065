"""From a spec to phases, tasks, seeds and points, and the frozen selections between phases.

It imports `sweeps.spec` and `storage`; `query`, `analysis` and every room above them may import it.
"""

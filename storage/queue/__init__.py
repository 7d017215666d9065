"""The task queue: plans, phases, claims, attempts, pause and cancel.

It imports `storage.db`; `storage.studies`, `storage.audit` and `sweeps` may import it.
"""

"""Optuna's side of a sweep: studies, trials, proposals, and their agreement with our rows.

The only room that imports Optuna, besides `storage.db` and `storage.queue`; `storage.audit` and `sweeps` may import it.
"""

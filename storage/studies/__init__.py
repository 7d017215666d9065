"""Optuna's side of a sweep: studies, trials, proposals, and their agreement with our rows.

The only room that imports Optuna, and it imports `storage.db`; `storage.audit`, `storage.deletion` and `sweeps` may
import it.
"""

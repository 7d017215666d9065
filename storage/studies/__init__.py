"""Optuna's side of a sweep: studies, trials, proposals, and their agreement with our rows."""

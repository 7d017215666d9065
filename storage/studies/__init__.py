"""Optuna's side of a sweep: studies, trials and proposals."""

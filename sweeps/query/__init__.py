"""Where a sweep stands: read-only questions that start fast.

It imports `sweeps.plan` and `storage`, and neither Optuna, TensorFlow nor scipy; `workers`, `report`, `service` and
`cli` may import it.
"""

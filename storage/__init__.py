"""Persistence of a sweep: its tasks, leases, attempts and results, in SQLite or Postgres.

Our rows decide and remember; Optuna, which `storage.studies` alone imports, proposes parameters and is what people
watch. Nothing in this package knows a model, a data set or a command line.
"""

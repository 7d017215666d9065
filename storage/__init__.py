"""Persistence of a sweep: its tasks, leases, attempts and results, in SQLite or Postgres.

Our rows decide and remember; Optuna proposes parameters and is what people watch (`storage.studies.studies` and
`storage.studies.sampler`, the only modules here that import it). Nothing in this package knows a model, a data set or a
command line.
"""

"""Remembering: the tasks of a sweep, who is at work on them, and what came out, in SQLite or Postgres.

Our rows decide and remember; Optuna proposes parameters and is what people watch (`storage.studies.adapter` and
`storage.studies.sampler`, the only modules here that import it). Nothing in this package knows a model, a data set or a
command line.
"""

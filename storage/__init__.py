"""Persistence of a sweep: its tasks, leases, attempts and results, in SQLite or Postgres.

The rows here are authoritative. Optuna, imported in `storage.studies` alone, proposes parameters and shows trials in
its dashboard. No module here depends on models, datasets or the command line.
"""

"""The service: sweeps over HTTP for a team, beside optuna-dashboard, behind two roles.

It imports `sweeps.places` and what stands below; the command line starts it.
"""

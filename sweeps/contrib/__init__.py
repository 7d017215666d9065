"""Extras: the HTTP service, the engines Slurm and Ray, a Postgres in a folder, trackers, archives."""

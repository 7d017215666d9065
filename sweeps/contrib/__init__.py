"""Extras: a server, other engines, a Postgres in a folder, trackers, archives."""

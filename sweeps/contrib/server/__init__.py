"""Serve sweeps over HTTP for a team, and ask such a service."""

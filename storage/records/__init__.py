"""Queries, frozen selections, and artifacts by their hash."""

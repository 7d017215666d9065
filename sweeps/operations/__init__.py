"""Queries and commands for a storage or a service."""

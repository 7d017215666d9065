"""Connections, transactions, faults and the schema; what SQLite and Postgres spell differently.

It imports nothing of this project but `storage.url` and `storage.errors`; every other room of `storage` may import it.
"""

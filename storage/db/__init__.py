"""Connections, transactions, faults and the schema; what SQLite and Postgres spell differently."""

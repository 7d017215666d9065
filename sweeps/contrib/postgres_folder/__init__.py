"""A private Postgres in a folder, without root."""

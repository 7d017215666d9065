"""A Postgres of your own in a folder, without root."""

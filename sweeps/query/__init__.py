"""Read-only queries of a sweep that start fast."""

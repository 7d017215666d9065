"""Where a sweep stands: read-only questions that start fast."""

"""The routes under /api/v1, and those that machines ask: health, readiness, metrics."""

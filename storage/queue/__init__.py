"""The task queue: plans, phases, claims, attempts, pause and cancel."""

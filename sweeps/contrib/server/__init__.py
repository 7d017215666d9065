"""The HTTP service for a team, and its clients."""

"""The worker process, and how it reaches its sweep."""

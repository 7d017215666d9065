"""Keep the workers of a sweep alive on an engine."""

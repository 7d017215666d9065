"""Start the workers of a sweep on an engine and keep them alive."""

"""The engine ray."""

"""Define the interface between the engine and a trainer."""

"""Define the trainer "custom", whose trials are calls of a user's function or command."""

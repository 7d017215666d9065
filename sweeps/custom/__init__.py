"""The trainer "custom": a training of the user's own, a function or a command, is a trial."""

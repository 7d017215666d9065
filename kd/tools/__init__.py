"""Load a user's code and run child processes, with the standard library alone; every package may import these."""

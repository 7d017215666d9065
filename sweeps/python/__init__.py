"""Sweeps in Python scripts, prompts and notebooks."""

"""Phases, tasks, seeds and points of a spec, and the frozen selections between phases."""

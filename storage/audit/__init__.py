"""Checks that no result was lost or counted twice."""

"""Estimates, confidence bounds, advice and verdicts from plain numbers."""

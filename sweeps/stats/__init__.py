"""Compute estimates, confidence bounds and the verdict from plain numbers."""

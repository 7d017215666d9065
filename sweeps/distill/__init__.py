"""Distillation: what a sweep trains."""

"""Fit the methods that distillation is compared with: AutoKeras and pretrained networks."""

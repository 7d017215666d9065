"""What is said of a sweep with a target, and of one without."""

"""What the results of a sweep say, as frozen values without text."""

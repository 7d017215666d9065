"""Turn the name of a dataset into verified arrays and splits."""

"""What can be asked and ordered, of a storage or of a service."""

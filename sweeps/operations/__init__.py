"""What can be asked and ordered, of a database or of a service."""

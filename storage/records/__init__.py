"""What is stored, for readers: queries, frozen selections, and artifacts by their hash."""

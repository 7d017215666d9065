"""What a sweep is: the model of a spec, its presets, and its form as TOML."""

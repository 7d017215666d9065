"""What a sweep is: the model of a spec, its presets, and its form as TOML.

It imports `kd` for names of models and methods, and `sweeps.stats`; every room above may import it.
"""

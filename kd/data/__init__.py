"""From the name of a dataset to verified arrays and splits.

It imports `kd.errors` only, and no Keras; every other room of `kd` may import it.
"""

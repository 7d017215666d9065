"""Turn the name of a dataset into verified arrays and splits.

It imports `kd.errors` only, and no Keras; every other room of `kd` may import it.
"""

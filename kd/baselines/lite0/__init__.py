"""EfficientNet-Lite0, and the reader of its published checkpoint.

It imports `kd.errors` and `kd.models`; `kd.baselines` may import it.
"""

"""Build EfficientNet-Lite0 and read its published checkpoint.

It imports Keras and numpy alone; `kd.baselines` may import it.
"""

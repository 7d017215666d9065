"""EfficientNet-Lite0, and the reader of its published checkpoint.

It imports Keras and numpy alone; `kd.baselines` may import it.
"""

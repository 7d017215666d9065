"""Build, load, measure and quantize Keras models.

It imports `kd.data`; `training`, `baselines` and `teachers` may import it.
"""

"""Build, load, measure and quantize Keras models."""

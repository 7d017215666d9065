"""Losses, the Distiller, the compiled trainer, and the controls of a teacher's logits.

It imports `kd.models` and `kd.data`; `kd.teachers` may import it.
"""

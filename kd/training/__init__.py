"""Train students: losses, the Distiller, the compiled trainer, and controls for a teacher's logits.

It imports `kd.models` and `kd.data`; `kd.teachers` may import it.
"""

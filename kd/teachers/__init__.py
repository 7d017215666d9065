"""The two ways to a teacher, trained or ready-made, and their names.

It imports `kd.training` and `kd.baselines`; no room of `kd` imports it.
"""

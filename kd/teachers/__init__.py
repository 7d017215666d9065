"""Parse the names of teachers and make them: trained here, or from a comparison method's model.

It imports `kd.training` and `kd.baselines`; no room of `kd` imports it.
"""

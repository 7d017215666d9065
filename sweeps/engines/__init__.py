"""Start workers, keep them alive and show how far they have come.

`protocol` says what an engine is, `local` is the one of this machine, `slurm` submits
array jobs (`detached` leaves them alone), `choice` finds one by its name; `supervisor`
replaces workers that die; `launcher` is what `launch` runs.
"""

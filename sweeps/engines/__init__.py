"""Start workers, keep them alive and show how far they have come.

`local` starts processes on this machine; `supervisor` replaces those that die; `launcher` is what `launch` runs.
"""

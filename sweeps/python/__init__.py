"""A sweep as an object of Python: in a script, at a prompt, or in a cell of a notebook.

It asks `sweeps.places` and calls `sweeps.service`, as the command line does; neither of the two imports the other. Its
modules import what is heavy when it is first needed, so that `import sweeps` is fast.
"""

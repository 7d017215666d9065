"""A sweep as an object of Python: in a script, at a prompt, or in a cell of a notebook."""

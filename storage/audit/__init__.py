"""The proof that nothing was lost or counted twice.

It reads the tables of every other room of `storage`; `sweeps` may import it, and no room of `storage` does.
"""

"""A sweep as one file: its lines and blobs in a zip, read from a database and put into another one.

It imports `storage.db` and `storage.records`; `sweeps` may import it.
"""

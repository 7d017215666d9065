"""A sweep as one file: its lines and blobs in a zip, read from a database and put into another one.

It imports `storage.db`, `storage.queue`, `storage.records` and the plain values of `storage.studies`; `sweeps` may
import it.
"""

"""What is stored, for readers: queries, frozen selections, and blobs by their hash.

It imports `storage.db`; `storage.audit` and `sweeps` may import it.
"""

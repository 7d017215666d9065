"""The command line: it parses, calls `service` or `query`, and prints.

Nobody imports it.
"""

"""Where a sweep is asked and steered: in its database, or at a service that stands before it.

The command line and the service ask a `Place`; what one answers has a type, which JSON can hold and give back.
"""

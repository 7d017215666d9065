"""Ask and steer sweeps through a service, with nothing but Python's own HTTP client.

It imports `sweeps.places`; the command line imports it, `sweeps.web` and it know nothing of each other.
"""

"""`python -m sweeps`: the command line."""

from sweeps.cli.__main__ import start

if __name__ == "__main__":
    start()

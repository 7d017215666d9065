"""python -m sweeps.cli: the command line."""

from sweeps.cli.main import main

if __name__ == "__main__":
    main()

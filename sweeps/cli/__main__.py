"""The start of kd-sweeps, and of `python -m sweeps.cli`, which needs a file of this name."""

import sys


def main() -> None:
    """Run the command line, and end without a traceback where Ctrl-C comes while it is still being imported."""
    try:
        from sweeps.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


def start() -> None:
    """Run the command line of `python -m`, without the current folder on the Python path."""
    from kd.tools.code import without_current_folder

    without_current_folder()
    main()


if __name__ == "__main__":
    start()

"""Entry points of kd-sweeps and of `python -m sweeps.cli`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C during its imports gives no traceback."""
    try:
        from sweeps.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


def start() -> None:
    """Run the command line for `python -m`, with the current folder off the Python path."""
    from kd.tools.code import without_current_folder

    without_current_folder()
    main()


if __name__ == "__main__":
    start()

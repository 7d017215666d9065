"""Entry points of kd-sweeps and of `python -m sweeps.cli`."""

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C during its imports gives no traceback."""
    # Imports, and the records of a large sweep, are alive until the end: to look for garbage among them every 700
    # objects takes a seventh of `report` at ten thousand tasks.
    gc.set_threshold(200_000)
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

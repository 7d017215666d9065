"""The start of kd-sweeps, and of `python -m sweeps.cli`, which needs a file of this name."""

import sys


def main() -> None:
    """Run the command line, and end without a traceback where Ctrl-C comes while it is still being imported."""
    try:
        from sweeps.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    from kd.tools.code import without_current_folder

    without_current_folder()
    main()

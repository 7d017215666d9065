"""From what a command raises to one line on stderr and an exit code. A bug keeps its traceback."""

import os
import sys

import typer

from sweeps.terminal import say


def exit_code_of(app: typer.Typer) -> int:
    """Run the command line in sys.argv."""
    from kd.errors import KdError
    from storage.errors import StorageError, UrlError
    from sweeps.errors import NoResultsYet, SpecError, SweepError
    from sweeps.hints import explain

    try:
        code = app(prog_name="kd-sweeps", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        text = error.format_message()
        # With no command at all the message is the whole help, which needs no hint to itself.
        say(text if "\n" in text else f"kd-sweeps: {text.rstrip('.')}; see: kd-sweeps --help")
        return error.exit_code
    except (SpecError, UrlError) as error:
        say(f"kd-sweeps: {explain(error)}")
        return 2
    except NoResultsYet as error:
        say(f"kd-sweeps: {explain(error)}")
        return 3
    except (SweepError, StorageError, KdError) as error:
        say(f"kd-sweeps: {explain(error)}")
        return 1
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Abort:
        return 130
    return code or 0

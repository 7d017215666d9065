"""From what a command raises to one line on stderr and an exit code. A bug keeps its traceback."""

import os
import sys
import threading
import time
from typing import NoReturn

import typer

from sweeps.cli import streams
from sweeps.terminal import say

_END_S = 5.0  # for what a command has left running to end by itself


def run_and_exit(app: typer.Typer) -> NoReturn:
    """Run the command line in sys.argv, and end this process with its exit code."""
    code = 1
    try:
        code = exit_code_of(app)
    finally:
        threading.Thread(target=_end, args=(code,), name="end", daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    """End the process where Python would wait for ever, such as for threads or exit handlers of a user's code."""
    time.sleep(_END_S)
    say("this command is done; what it has left running is ended")
    os._exit(code)


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
        line = text if text.endswith("?") else f"{text.rstrip('.')};"
        say(text if "\n" in text else f"kd-sweeps: {line} see: kd-sweeps --help")
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
    except streams.ReaderGone:
        return 0
    except streams.Unprintable as error:
        say(f"kd-sweeps: cannot write to stdout: {error}; send the output elsewhere, for example > FILE")
        return 1
    except typer.Abort:
        return 130
    return code or 0

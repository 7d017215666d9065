"""From what a command raises to one line on stderr and an exit code. A bug keeps its traceback."""

import sys

import typer

from sweeps.cli import streams
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

"""Let errors that reach a user of Python say the same one line as the command line."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told(storage: str) -> Iterator[None]:
    """Give the expected errors of the block the line that the command line prints, with the commands that help.

    Args:
        storage: URL without a password that these commands name; "": the one that the environment names.
    """
    from kd.errors import KdError
    from storage.errors import StorageError
    from sweeps.errors import SweepError
    from sweeps.hints import Commands, explain, worded_for
    from sweeps.terminal import program

    with worded_for(Commands(program(), storage)):
        try:
            yield
        except (SweepError, StorageError, KdError) as error:
            error.args = (explain(error),)
            if isinstance(error, StorageError):
                error.next_steps = ()  # they are in the line now
            raise

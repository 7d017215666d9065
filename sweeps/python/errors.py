"""Let errors that reach a user of Python say the same one line as the command line."""

import warnings
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

    with worded_for(Commands(program(), storage)), warnings.catch_warnings():
        # Optuna imports tqdm, which asks for widgets in every notebook that has none; we show no bars of theirs.
        warnings.filterwarnings("ignore", message="IProgress not found")
        try:
            yield
        except (SweepError, StorageError, KdError) as error:
            error.args = (explain(error),)
            if isinstance(error, StorageError):
                error.next_steps = ()  # they are in the line now
            raise

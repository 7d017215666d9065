"""Where a worker's words go: its own to stderr, the libraries' noise to a file."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_FORMAT = "%(asctime)s %(levelname).1s %(message)s"


@contextmanager
def worker_log(path: Path | None) -> Iterator[None]:
    """Send our own log lines to stderr and, with everything else this process prints, to `path`.

    TensorFlow's C++ code writes to file descriptors 1 and 2 directly, so those are what is redirected.
    With None (a launched worker, whose output already is a file) nothing is redirected.
    """
    own = os.fdopen(os.dup(2), "w", buffering=1) if path is not None else sys.stderr
    # sys.stderr writes to descriptor 2: into the file, once that is redirected.
    handlers = [logging.StreamHandler(stream) for stream in ([own, sys.stderr] if path is not None else [own])]
    loggers = [logging.getLogger(name) for name in ("sweeps", "storage", "kd")]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
    kept = (os.dup(1), os.dup(2))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        for logger in loggers:
            for handler in handlers:
                logger.removeHandler(handler)
        if path is not None:
            own.close()


def log_folder(name: str) -> Path:
    """Where the workers of a sweep on this machine write their logs."""
    return Path(platformdirs.user_log_path("kd-sweeps")) / name

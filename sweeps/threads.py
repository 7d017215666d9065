"""How many threads a worker trains with."""

import os


def one_thread() -> None:
    """One thread for TensorFlow in this process; must come before TensorFlow is imported.

    Two single-threaded workers on two cores train about twice as fast as one worker with two threads:
    the students are too small to split. What the user has set already stands.
    """
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

"""Let a worker stop when whoever started it is gone, although nobody sends it a signal.

Whoever starts it holds the other end of its standard input and never writes there: the end of that input is the end
of its holder, also after a kill -9, on every system.
"""

import os
import signal
import threading

LEASH_VARIABLE = "KD_SWEEPS_LEASH"  # in the environment of a worker whose standard input is held


def hold() -> None:
    """Stop this process, as SIGTERM does, as soon as its standard input ends; only where the variable says so.

    The variable is taken out: the input of processes that this one starts is nobody's leash.
    """
    if os.environ.pop(LEASH_VARIABLE, None):
        threading.Thread(target=_stop_with_holder, name="leash", daemon=True).start()


def _stop_with_holder() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

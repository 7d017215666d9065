"""Turn SIGTERM and Ctrl-C into a flag that is read between steps, and exit in time when no step comes."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE_S = 3.0  # for the step at work to end; with the next one a task is given back within 5 s
_LAST_WORDS_S = 1.5


class StopSignals:
    """Within the block the first signal sets `requested`; a second Ctrl-C ends the process at once.

    A second SIGTERM is the first one once more: who signals a whole job, as Slurm does, reaches the shell that passes
    it on, and us.

    If the block does not end in time after the first - a long step, a database that does not answer - then
    `on_overdue` runs and the process exits. A thread sees to that, woken by the operating system itself:
    Python's own handlers wait for the main thread, which may be inside a compiled step for a minute.
    Source: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd. Main thread only.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.on_overdue: Callable[[], None] = lambda: None
        self._number = 0
        self._reading, self._writing = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells count: 143 after SIGTERM, 130 after Ctrl-C; 0 if there was none."""
        return 128 + self._number if self._number else 0

    def __enter__(self) -> "StopSignals":
        self._writing.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._writing.close()  # ends the thread
        self._thread.join()
        self._reading.close()

    def _watch(self) -> None:
        received = self._reading.recv(1)
        if not received:
            return
        self._number = received[0]
        self.requested.set()
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while True:
                self._reading.settimeout(max(deadline - time.monotonic(), 0.001))
                received = self._reading.recv(1)
                if not received:
                    return  # the block has ended, as it was asked to
                if received[0] != signal.SIGTERM:
                    break
        except TimeoutError:
            words = threading.Thread(target=self.on_overdue, daemon=True)
            words.start()
            words.join(_LAST_WORDS_S)
        os._exit(self.exit_code)

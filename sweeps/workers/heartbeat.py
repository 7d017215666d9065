"""Keep a running task ours: a thread renews its lease."""

import logging
import threading

import sqlalchemy

from storage.errors import StorageError
from storage.queue import tasks
from storage.queue.tasks import Claim

log = logging.getLogger(__name__)

_AGAIN_S = 1.0  # after a database error
_LEAVE_S = 1.0


class Heartbeat:
    """Renew one claim's lease every interval_s while the with-block runs; set `lost` once it is taken.

    A database error does not end it: the lease may lapse in the meantime, but as long as nobody took the
    task it is still ours, and the next renewal says so.
    """

    def __init__(self, engine: sqlalchemy.Engine, claim: Claim, *, interval_s: float, lease_s: float) -> None:
        self.lost = threading.Event()
        self._engine, self._claim = engine, claim
        self._interval_s, self._lease_s = interval_s, lease_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {claim.key}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        # Not for longer: a renewal that hangs on a dead database is harmless, as it names the attempt.
        self._thread.join(_LEAVE_S)

    def _renew(self) -> None:
        pause = self._interval_s
        while not self._done.wait(pause):
            pause = self._interval_s
            try:
                if not tasks.renew(self._engine, self._claim, self._lease_s):
                    self.lost.set()
                    return
            except (StorageError, sqlalchemy.exc.SQLAlchemyError) as error:
                pause = min(self._interval_s, _AGAIN_S)
                log.warning("could not renew the lease of %s, trying again: %s", self._claim.key, error)

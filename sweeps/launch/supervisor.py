"""Replace dead workers, kill frozen ones, give up after repeated deaths."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kd.tools import processes
from storage.errors import StorageError, StorageFull
from sweeps.errors import SweepError
from sweeps.hints import explain, local
from sweeps.launch.engine import Engine, WorkerHandle
from sweeps.launch.oversight import Oversight
from sweeps.terminal import number_of
from sweeps.workers import heartbeat, logs

log = logging.getLogger(__name__)

QUICK_S = 30.0  # a death within so many seconds, without a finished task, is quick
MOST_QUICK = 3  # quick deaths in a row, after which a slot is given up
_BACKOFF_S = (1.0, 4.0, 15.0)  # before the replacement, by quick deaths in a row
_SHOWN_LINES = 5
_EXIT_S = 60.0  # allowed to a worker between signing out and the end of its process


@dataclass
class Supervisor:
    """Keep workers of one sweep alive on an engine.

    say: prints a line for the user. relaunch_command: resumes with the same workers.
    """

    queue: Oversight
    on: Engine
    say: Callable[[str], None]
    relaunch_command: str
    alive: list[WorkerHandle] = field(default_factory=list)
    _started: int = 0
    _quick_deaths: Counter[int] = field(default_factory=Counter)  # in a row, by slot
    _due: list[tuple[float, int]] = field(default_factory=list)  # replacements: monotonic seconds, slot
    _unreaped: list[WorkerHandle] = field(default_factory=list)
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)  # by worker: seen_at, and when it last changed
    _look_at: float = 0.0
    _waiting: tuple[int, int] = (0, 0)  # for a machine: at the last check, and as last announced
    _trouble: str = ""  # of the database, as last announced

    @property
    def working(self) -> bool:
        """Whether a worker is alive, or about to be started."""
        return bool(self.alive or self._due)

    @property
    def gave_up(self) -> bool:
        """Whether a slot was given up after quick deaths in a row."""
        return any(deaths >= MOST_QUICK for deaths in self._quick_deaths.values())

    def tick(self) -> None:
        """Check the workers; call this a few times per second."""
        for worker in [worker for worker in self.alive if worker.code is not None]:
            self.alive.remove(worker)
            worker.end_children()
            if worker.code:
                self._died(worker)
        self._unreaped = [worker for worker in self._unreaped if not self._reaped(worker)]
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self.queue.spec.lease.interval_s
            self._end_frozen()
            self._look_after_waiting()
        now = time.monotonic()
        slots = [slot for due, slot in self._due if due <= now]
        if slots and self._over():
            self._due.clear()
            return
        self._due = [(due, slot) for due, slot in self._due if due > now]
        for slot in slots:
            self._replace(slot)

    def wake(self) -> None:
        """Wake as many idle workers as there are ready tasks, or all once no task is left."""
        try:
            names = self.queue.to_wake(max(len(self.alive), 1))
        except StorageError:  # they poll as well, less often
            return
        for worker in self.alive:
            if worker.worker in names:
                worker.wake()

    def _over(self) -> str:
        """Return why a new worker would have nothing to do; "" if it would, or if the database is unreachable."""
        try:
            left = self.queue.outlook()
        except StorageError:
            return ""
        if left.state == "cancelled":
            return "the sweep is cancelled"
        return "" if left.unended else "nothing is left to do"

    def stop_replacing(self) -> None:
        self._due.clear()

    def start(self, slots: Sequence[int]) -> None:
        self.alive += self.on.start(slots, self._started)
        self._started += len(slots)

    def _replace(self, slot: int) -> None:
        try:
            self.start([slot])
        except SweepError as error:  # a brief failure of the engine must not end the other workers
            if not self.alive:
                raise
            self.say(f"{error}; retrying")
            self._due.append((time.monotonic() + _BACKOFF_S[-1], slot))

    def _look_after_waiting(self) -> None:
        """Print how many workers wait for a machine; once no task is left, end those."""
        waiting = [worker for worker in self.alive if worker.code is None and not worker.lived_s]
        if waiting and self._over():
            for worker in waiting:
                worker.send(signal.SIGTERM)
        before, announced = self._waiting
        if before == len(waiting) != announced:  # after a whole interval: those just submitted need no line
            announced = before
            waits = f"{announced} of {number_of(len(self.alive), 'worker')} wait for a machine"
            self.say(waits if announced else "all workers are running")
        self._waiting = len(waiting), announced

    def _died(self, worker: WorkerHandle) -> None:
        self._unreaped.append(worker)
        processes.remove_left_over()
        deaths = self._quick_deaths[worker.slot] + 1 if self._was_quick(worker) else 0
        self._quick_deaths[worker.slot] = deaths
        last_one, over = deaths >= MOST_QUICK, self._over()
        consequence = "starting another"
        if last_one or over:
            consequence = f"giving up: {number_of(deaths, 'worker')} in a row died at start"
            if worker.replacement is not None:
                worker.replacement.kill()
        elif worker.replacement is not None:
            consequence = "the engine starts it again"
            self.alive.append(worker.replacement)
        else:
            self._due.append((time.monotonic() + _BACKOFF_S[deaths], worker.slot))
            self._due.sort()
        consequence = over or f"its task is back in the queue; {consequence}"
        lines = [f"worker {worker.worker} {_how(worker.code or 0)}; {consequence}"]
        last = "\n".join(worker.last_lines(_SHOWN_LINES if last_one else 1))
        last = logs.redact_tail(last, self.queue.url)  # a user's program may have printed the storage's URL
        self.say("\n".join([*lines, *(f"  {line}" for line in last.splitlines()), f"  log: {worker.log_place}"]))

    def _was_quick(self, worker: WorkerHandle) -> bool:
        if worker.lived_s >= QUICK_S or worker.code == heartbeat.HUNG:  # a hang counts against its task already
            return False
        try:
            return not self.queue.has_finished(worker.worker)
        except StorageError:  # perhaps the cause of its death
            return True

    def _reaped(self, worker: WorkerHandle) -> bool:
        """Free the task of a dead worker; False: the database is unreachable, so later."""
        try:
            tail = worker.stored_log(self.queue.url)
            self.queue.reap(worker.worker, reason=_how(worker.code or 0), log=tail)
        except StorageError as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: StorageError) -> None:
        waits = f"{error.fault}; the workers wait" if isinstance(error, StorageFull) else explain(error)
        if waits != self._trouble:
            self.say(waits)
        self._trouble = waits

    def _end_frozen(self) -> None:
        """Kill live workers that were not seen for longer than a lease: they are frozen.

        Only this process's time counts, and only while the database can be written: a sleeping laptop has not frozen a
        worker, nor has a full disk, on which none can renew.
        """
        try:
            seen = self.queue.seen()
        except StorageError:
            self._seen.clear()
            return
        now = time.monotonic()
        for worker in self.alive:
            if (last := seen.get(worker.worker)) is None:
                continue
            before, since = self._seen.get(worker.worker, (last.at, now))
            if before != last.at:
                since, self._trouble = now, ""
            self._seen[worker.worker] = last.at, since
            if last.signed_out and now - since <= _EXIT_S:
                continue  # exiting takes seconds on a busy machine
            if now - since > 2 * self.queue.spec.lease.interval_s and not self._has_room(worker):
                self._seen.clear()
                return
            if now - since > self.queue.spec.lease.seconds + self.queue.spec.lease.interval_s:
                how = "signed out but did not exit" if last.signed_out else "is frozen"
                self.say(f"worker {worker.worker} {how}; killing it")
                worker.kill()

    def _has_room(self, worker: WorkerHandle) -> bool:
        """Return whether a worker that was not seen could have renewed its lease."""
        try:
            self.queue.check_room(worker.worker)
        except StorageFull as error:
            self._complain(error)
            return False
        except StorageError:  # locked, perhaps by that worker
            pass
        return True

    def help(self) -> str:
        return f"Logs: {local().line('logs', self.queue.name)}; to resume: {self.relaunch_command}"


def _how(code: int) -> str:
    if code == heartbeat.HUNG:
        return "stopped itself because its task hung"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

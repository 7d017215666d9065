"""What many ask for at once is made once, in a few places: threads that ask the database, a process that draws."""

import asyncio
import signal
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio.to_process
import anyio.to_thread
from anyio import CapacityLimiter

from storage.db.transaction import patience
from storage.errors import StorageError, Unreachable
from sweeps.errors import SweepError

RETRY_S = 3.0  # a database that refuses is asked again for so long
SILENCE_S = 6.0  # one that answers nothing is given up after so long: nobody waits for 10 s
T = TypeVar("T")
_ANY_NUMBER = CapacityLimiter(float("inf"))  # `Places` counts


class Busy(SweepError):
    """Too many wait already."""


async def in_process(work: Callable[..., T], *arguments: Any) -> T:
    """Do it in another process, which keeps what it imported for the next. Both are sent there: functions of modules.

    What computes for seconds is done there: in a thread it would hold up all others.
    """
    try:
        return await anyio.to_process.run_sync(_beside, work, arguments, limiter=_ANY_NUMBER)
    except anyio.BrokenWorkerProcess:
        raise Busy("the process that was at it has died; try again") from None


def _beside(work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process
    try:
        with patience(retry_s=RETRY_S, silence_s=SILENCE_S):
            return work(*arguments)
    except (SweepError, StorageError):
        raise
    except Exception as error:
        error.add_note(traceback.format_exc())  # an exception comes to the service without its traceback
        raise


async def in_thread(question: Callable[[], T]) -> T:
    """Ask the database in a thread, with the patience of a user."""

    def patiently() -> T:
        with patience(retry_s=RETRY_S, silence_s=SILENCE_S):
            return question()

    return await anyio.to_thread.run_sync(patiently, limiter=_ANY_NUMBER)


class Places:
    """So many work at once; the others wait for a place, at most `queue` of them.

    What has begun is not cut off when the client goes, and holds its place to its end; what has not is never begun.
    Where the database turns out to be away, those who wait are told at once, and not one after another.
    """

    def __init__(self, number: int, *, queue: float = float("inf")) -> None:
        self._free, self._queue, self._waiting = asyncio.Semaphore(number), queue, 0
        self._failed_at, self._failure = -float("inf"), ""

    async def work(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it in a place. Busy: too many wait for one."""
        if self._free.locked() and self._waiting >= self._queue:
            raise Busy("too many wait for this already; try again")
        asked = time.monotonic()
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        return await asyncio.shield(asyncio.ensure_future(self._work(asked, work)))

    async def ask(self, question: Callable[[], T]) -> T:
        """Ask the database in a thread, in a place."""
        return await self.work(lambda: in_thread(question))

    async def _work(self, asked: float, work: Callable[[], Awaitable[T]]) -> T:
        try:
            if self._failed_at >= asked:
                raise Unreachable(self._failure)
            try:
                return await work()
            except Unreachable as error:
                self._failed_at, self._failure = time.monotonic(), str(error)
                raise
        finally:
            self._free.release()


@dataclass
class _Making(Generic[T]):
    task: "asyncio.Task[T]"
    began: float = field(default_factory=time.monotonic)
    waiting: int = 0


class Shared:
    """Answers by key, each made once for all who ask while it is made.

    Nobody gets an answer that was begun before the question, but for `fresh_s`: so who pauses a sweep and then asks for
    its status is told that it is paused. What nobody waits for any more is not begun.
    """

    def __init__(self, *, most: int = 200) -> None:
        """most: answers that are kept because they are fresh."""
        self._making, self._most = OrderedDict[Hashable, _Making[Any]](), most

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], *, fresh_s: float = 0.0) -> T:
        """Return the answer; fresh_s: one that was begun so long before will do."""
        asked = time.monotonic() - fresh_s
        while True:
            making = self._making.get(key)
            if making is None or (making.task.done() and making.began < asked):
                making = self._begin(key, make, kept=fresh_s > 0)
            making.waiting += 1
            try:
                await asyncio.wait({making.task})
            finally:
                making.waiting -= 1
                if not making.waiting:
                    making.task.cancel()  # no matter where it is done
            if making.task.cancelled():
                continue
            if making.began >= asked or isinstance(making.task.exception(), Unreachable):  # it is away now as well
                answer: T = making.task.result()
                return answer

    def _begin(self, key: Hashable, make: Callable[[], Awaitable[T]], *, kept: bool) -> _Making[T]:
        making = self._making[key] = _Making(asyncio.ensure_future(make()))
        self._making.move_to_end(key)

        def ended(task: "asyncio.Task[T]") -> None:
            failed = task.cancelled() or task.exception() is not None
            if self._making.get(key) is making and (failed or not kept):
                del self._making[key]
            while len(self._making) > self._most and next(iter(self._making.values())).task.done():
                self._making.popitem(last=False)

        making.task.add_done_callback(ended)
        return making

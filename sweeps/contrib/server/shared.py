"""Share answers between concurrent requests, and bound the threads and processes that make them."""

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

RETRY_S = 3.0  # a query that the database refuses is retried for so long
SILENCE_S = 6.0  # and one without an answer is abandoned after so long, so that no request waits for 10 s
T = TypeVar("T")
_ANY_NUMBER = CapacityLimiter(float("inf"))  # `Places` limits it


class Busy(SweepError):
    """Too many requests are waiting."""


async def in_process(work: Callable[..., T], *arguments: Any) -> T:
    """Call a function in another process, which is reused with its imports. Function and arguments are pickled.

    For work that computes for seconds: in a thread it would delay all other requests.
    """
    try:
        return await anyio.to_process.run_sync(_call, work, arguments, limiter=_ANY_NUMBER)
    except anyio.BrokenWorkerProcess:
        raise Busy("the process that made this answer has died; try again") from None


def _call(work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the service ends this process
    try:
        with patience(retry_s=RETRY_S, silence_s=SILENCE_S):
            return work(*arguments)
    except (SweepError, StorageError):
        raise
    except Exception as error:
        error.add_note(traceback.format_exc())  # pickling drops the traceback
        raise


async def in_thread(question: Callable[[], T]) -> T:
    """Query the database in a thread, with the time limits of an interactive user."""

    def patiently() -> T:
        with patience(retry_s=RETRY_S, silence_s=SILENCE_S):
            return question()

    return await anyio.to_thread.run_sync(patiently, limiter=_ANY_NUMBER)


class Places:
    """A limit on concurrent work, with at most `queue` waiting.

    Work that has begun keeps its place to its end, also when the client disconnects; waiting work is then dropped. When
    the database proves unreachable, all waiting work fails at once instead of one after another.
    """

    def __init__(self, number: int, *, queue: float = float("inf")) -> None:
        self._free, self._queue, self._waiting = asyncio.Semaphore(number), queue, 0
        self._failed_at, self._failure = -float("inf"), ""

    async def work(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work in a place. Raises Busy if too many are waiting."""
        if self._free.locked() and self._waiting >= self._queue:
            raise Busy("too many requests are waiting for this; try again")
        since = time.monotonic()
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        return await asyncio.shield(asyncio.ensure_future(self._work(since, work)))

    async def ask(self, question: Callable[[], T]) -> T:
        """Query the database in a thread, in a place."""
        return await self.work(lambda: in_thread(question))

    async def _work(self, since: float, work: Callable[[], Awaitable[T]]) -> T:
        try:
            if self._failed_at >= since:
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
    """Answers by key, each made once for all requests that arrive meanwhile.

    An answer begins after its request, except for `fresh_s`: so a client that pauses a sweep and then asks for its
    status sees it paused. Work for which no request waits any longer is not begun.
    """

    def __init__(self, *, most: int = 200) -> None:
        """most: fresh answers to keep."""
        self._making, self._most = OrderedDict[Hashable, _Making[Any]](), most

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], *, fresh_s: float = 0.0) -> T:
        """Return the answer. fresh_s: maximum age of its beginning."""
        since = time.monotonic() - fresh_s
        while True:
            making = self._making.get(key)
            if making is None or (making.task.done() and making.began < since):
                making = self._begin(key, make, kept=fresh_s > 0)
            making.waiting += 1
            try:
                await asyncio.wait({making.task})
            finally:
                making.waiting -= 1
                if not making.waiting:
                    making.task.cancel()  # has no effect if it is done
            if making.task.cancelled():
                continue
            if making.began >= since or isinstance(making.task.exception(), Unreachable):  # still unreachable
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

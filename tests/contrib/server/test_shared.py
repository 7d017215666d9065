"""Answers computed once for all waiting requests, and the slots in which they are computed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage.errors import RecordBroken, StorageError, Unreachable
from sweeps.contrib.server.shared import Busy, Places, Shared


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


class Computation:
    """Returns 1, 2, ... once `allowed` is set."""

    def __init__(self) -> None:
        self.begun, self.allowed = 0, asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.allowed.wait()
        if self.failure:
            raise self.failure
        return number


async def ask(shared: Shared, computation: Computation, clients: int, **more: float) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.ensure_future(shared.get("key", computation, **more)) for _ in range(clients)]
    await asyncio.sleep(0.01)
    return tasks


def test_requests_during_a_computation_share_the_next_answer_and_never_an_older_one() -> None:
    async def test() -> None:
        shared, computation = Shared(), Computation()
        first = await ask(shared, computation, 1)
        later = await ask(shared, computation, 20)
        assert computation.begun == 1, "the running computation began before these requests"
        computation.allowed.set()
        assert await first[0] == 1
        assert {await task for task in later} == {2}
        assert await shared.get("key", computation) == 3, "no answer is cached"
        assert await shared.get("another", computation) == 4

    run(test)


def test_an_answer_is_cached_for_its_maximum_age() -> None:
    async def test() -> None:
        shared, computation = Shared(), Computation()
        computation.allowed.set()
        for _ in range(20):
            assert await shared.get("key", computation, fresh_s=60) == 1
        await asyncio.sleep(0.05)
        assert await shared.get("key", computation, fresh_s=0.04) == 2

    run(test)


def test_a_failure_reaches_all_waiting_requests_and_is_not_cached() -> None:
    async def test() -> None:
        shared, computation = Shared(), Computation()
        tasks = await ask(shared, computation, 3, fresh_s=60)
        computation.failure = RecordBroken("damaged")
        computation.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, RecordBroken)
        computation.failure = None
        assert await shared.get("key", computation, fresh_s=60) == 2

    run(test)


def test_a_database_failure_also_reaches_requests_that_wait_for_the_next_answer() -> None:
    async def test() -> None:
        shared, computation = Shared(), Computation()
        tasks = await ask(shared, computation, 1) + await ask(shared, computation, 2)
        computation.failure = Unreachable("away")
        computation.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, Unreachable)
        assert computation.begun == 1

    run(test)


def test_a_computation_without_waiting_requests_is_not_started() -> None:
    async def test() -> None:
        shared, places, computation = Shared(), Places(1), Computation()
        before = asyncio.ensure_future(places.work(computation))
        tasks = [asyncio.ensure_future(shared.get("key", lambda: places.work(computation))) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        computation.allowed.set()
        assert await before == 1
        assert await shared.get("key", lambda: places.work(computation)) == 2, "the cancelled computation never began"

    run(test)


def test_a_started_computation_outlives_its_client_and_keeps_its_slot() -> None:
    async def test() -> None:
        places, computation = Places(1), Computation()
        first = asyncio.ensure_future(places.work(computation))
        await asyncio.sleep(0.01)
        first.cancel()
        second = asyncio.ensure_future(places.work(computation))
        await asyncio.sleep(0.01)
        assert computation.begun == 1
        computation.allowed.set()
        assert await second == 2

    run(test)


def test_a_full_queue_refuses_at_once() -> None:
    async def test() -> None:
        places, computation = Places(1, queue=2), Computation()
        tasks = [asyncio.ensure_future(places.work(computation)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await places.work(computation)
        computation.allowed.set()
        assert [await task for task in tasks] == [1, 2, 3]
        assert await places.work(computation) == 4

    run(test)


@pytest.mark.parametrize(("failure", "begun"), [(Unreachable("away"), 1), (RecordBroken("one sweep is damaged"), 4)])
def test_a_database_failure_reaches_all_requests_that_wait_for_a_slot(failure: StorageError, begun: int) -> None:
    async def test() -> None:
        places, computation = Places(1), Computation()
        tasks = [asyncio.ensure_future(places.work(computation)) for _ in range(4)]
        await asyncio.sleep(0.01)
        computation.failure = failure
        computation.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert str(outcome) == str(failure)
        assert computation.begun == begun
        computation.failure = None
        assert await places.work(computation) == begun + 1, "a later request computes again"

    run(test)

"""Answers computed once for all waiting requests, and the slots in which they are computed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage.errors import RecordBroken, StorageError, Unreachable
from sweeps.contrib.server.shared import Busy, Places, Shared


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


class Question:
    """Numbers its answers, and gives them on request."""

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


async def ask(shared: Shared, question: Question, clients: int, **more: float) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.ensure_future(shared.get("key", question, **more)) for _ in range(clients)]
    await asyncio.sleep(0.01)
    return tasks


def test_requests_during_a_computation_share_the_next_answer_and_never_an_older_one() -> None:
    async def test() -> None:
        shared, question = Shared(), Question()
        first = await ask(shared, question, 1)
        later = await ask(shared, question, 20)
        assert question.begun == 1, "the running computation began before these requests"
        question.allowed.set()
        assert await first[0] == 1
        assert {await task for task in later} == {2}
        assert await shared.get("key", question) == 3, "no answer is cached"
        assert await shared.get("another", question) == 4

    run(test)


def test_an_answer_is_cached_for_its_maximum_age() -> None:
    async def test() -> None:
        shared, question = Shared(), Question()
        question.allowed.set()
        for _ in range(20):
            assert await shared.get("key", question, fresh_s=60) == 1
        await asyncio.sleep(0.05)
        assert await shared.get("key", question, fresh_s=0.04) == 2

    run(test)


def test_a_failure_reaches_all_waiting_requests_and_is_not_cached() -> None:
    async def test() -> None:
        shared, question = Shared(), Question()
        tasks = await ask(shared, question, 3, fresh_s=60)
        question.failure = RecordBroken("damaged")
        question.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, RecordBroken)
        question.failure = None
        assert await shared.get("key", question, fresh_s=60) == 2

    run(test)


def test_a_database_failure_also_reaches_requests_that_wait_for_the_next_answer() -> None:
    async def test() -> None:
        shared, question = Shared(), Question()
        tasks = await ask(shared, question, 1) + await ask(shared, question, 2)
        question.failure = Unreachable("away")
        question.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, Unreachable)
        assert question.begun == 1

    run(test)


def test_a_computation_without_waiting_requests_is_not_started() -> None:
    async def test() -> None:
        shared, places, question = Shared(), Places(1), Question()
        before = asyncio.ensure_future(places.work(question))
        tasks = [asyncio.ensure_future(shared.get("key", lambda: places.work(question))) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        question.allowed.set()
        assert await before == 1
        assert await shared.get("key", lambda: places.work(question)) == 2, "the cancelled computation never began"

    run(test)


def test_a_started_computation_outlives_its_client_and_keeps_its_slot() -> None:
    async def test() -> None:
        places, question = Places(1), Question()
        gone = asyncio.ensure_future(places.work(question))
        await asyncio.sleep(0.01)
        gone.cancel()
        second = asyncio.ensure_future(places.work(question))
        await asyncio.sleep(0.01)
        assert question.begun == 1
        question.allowed.set()
        assert await second == 2

    run(test)


def test_a_full_queue_refuses_at_once() -> None:
    async def test() -> None:
        places, question = Places(1, queue=2), Question()
        tasks = [asyncio.ensure_future(places.work(question)) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await places.work(question)
        question.allowed.set()
        assert [await task for task in tasks] == [1, 2, 3]
        assert await places.work(question) == 4

    run(test)


@pytest.mark.parametrize(("failure", "begun"), [(Unreachable("away"), 1), (RecordBroken("one sweep is damaged"), 4)])
def test_a_database_failure_reaches_all_requests_that_wait_for_a_slot(failure: StorageError, begun: int) -> None:
    async def test() -> None:
        places, question = Places(1), Question()
        tasks = [asyncio.ensure_future(places.work(question)) for _ in range(4)]
        await asyncio.sleep(0.01)
        question.failure = failure
        question.allowed.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert str(outcome) == str(failure)
        assert question.begun == begun
        question.failure = None
        assert await places.work(question) == begun + 1, "a later request computes again"

    run(test)

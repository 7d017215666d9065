"""What one connection may take: a time for its headers, and a place that another may need more."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 10.0
MOST = 500  # files of this process: most systems give 1024


class BoundedProtocol(H11Protocol):
    """uvicorn bounds the time between two requests. This bounds the time for the headers of each, too.

    Where there are too many connections, the one that has been silent for longest is closed: who opens connections and
    says nothing keeps nobody out. (`limit_concurrency` answers everybody else with 503 instead, probes as well.)
    """

    _headers: asyncio.TimerHandle | None = None  # ends the wait for those of the next request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()
        if len(self.connections) > MOST:
            ours = [other for other in self.connections if isinstance(other, BoundedProtocol)]
            still = [other for other in ours if not other.transport.is_closing()]
            if len(still) > MOST:  # this one is among them, and silent
                min(filter(BoundedProtocol._deadline, still), key=BoundedProtocol._deadline).end()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._headers is None:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def end(self) -> None:
        self.timeout_keep_alive_handler()

    def _wait_for_headers(self) -> None:
        self._headers = self.loop.call_later(HEADERS_S, self.end)

    def _stop_waiting(self) -> None:
        if self._headers is not None:
            self._headers.cancel()
            self._headers = None

    def _deadline(self) -> float:
        """Return when its wait ends, by the clock of the loop; 0 where it has a request at work."""
        timer = self._headers or self.timeout_keep_alive_task
        return timer.when() if timer else 0.0

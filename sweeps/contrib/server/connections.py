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

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()
        silent = [other for other in self.connections if isinstance(other, BoundedProtocol) and other._silence]
        if len(self.connections) > MOST and silent:
            min(silent, key=BoundedProtocol._since).timeout_keep_alive_handler()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_at_work():
            self._stop_waiting()
        elif self._silence is None:
            self._wait_for_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_at_work():  # no other request came with it
            self._wait_for_headers(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_at_work(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait_for_headers(self, seconds: float = HEADERS_S) -> None:
        self._stop_waiting()
        self._silence = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _since(self) -> float:
        return self._silence.when() if self._silence else float("inf")

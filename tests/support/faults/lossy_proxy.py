"""A TCP proxy in front of a server that can lose an answer: the work was done, and the client does not learn it."""

import contextlib
import socket
import threading

from tests.support.faults.proxy import Proxy


class LossyProxy(Proxy):
    """Listens on 127.0.0.1:`port` and forwards to 127.0.0.1:`behind`."""

    def __init__(self, behind: int) -> None:
        super().__init__()
        self._behind = behind
        self.lost = 0
        self._losing: bytes | None = None

    def lose_next_answer_to(self, request: bytes) -> None:
        """Pass on the next request that holds these bytes, wait for the answer, and cut both connections."""
        self._losing = request

    def connect(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._behind))
        lose = threading.Event()
        threading.Thread(target=self._forward, args=(client, server, lose), daemon=True).start()
        threading.Thread(target=self._answer, args=(server, client, lose), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, lose: threading.Event) -> None:
        while data := _receive(client):
            if self._losing is not None and self._losing in data:
                self._losing = None
                lose.set()
            server.sendall(data)
        _close(server)

    def _answer(self, server: socket.socket, client: socket.socket, lose: threading.Event) -> None:
        while data := _receive(server):
            if lose.is_set():
                self.lost += 1
                break
            client.sendall(data)
        _close(server)
        _close(client)


def _receive(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

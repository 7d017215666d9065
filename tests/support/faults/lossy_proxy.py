"""Local TCP proxies. A lossy one can lose an answer: the server did the work, and the client does not know."""

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Listens on 127.0.0.1:`port` during the block; subclasses decide the fate of each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def connect(self, client: socket.socket) -> None:
        """Handle a connection without waiting for its end."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            self.connect(client)


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


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

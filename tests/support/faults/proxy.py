"""A local TCP proxy; subclasses decide the fate of each connection."""

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Listens on 127.0.0.1:`port` while the with-block runs."""

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

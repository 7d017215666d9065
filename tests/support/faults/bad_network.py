"""A TCP proxy in front of a service that loses or delays requests and answers, or answers in its place."""

import contextlib
import random
import socket
import threading
import time
from collections import Counter

from tests.support.faults.lossy_proxy import Proxy

_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 24\r\nConnection: close\r\n\r\n"
    b"<html>Bad Gateway</html>"
)
FAULTS = ("request lost", "answer lost", "answer cut", "502", "delay")


class BadNetwork(Proxy):
    """Listens on 127.0.0.1:`port`. A share of the connections, of one request each, meet a random one of FAULTS.

    `behind` may change while it runs, when the service was restarted on another port.
    """

    def __init__(self, behind: int, *, seed: int = 0, faulty: float = 0.5) -> None:
        super().__init__()
        self.behind, self.met = behind, Counter[str]()
        self._random, self._faulty = random.Random(seed), faulty

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, client: socket.socket) -> None:
        fault = self._random.choice(FAULTS) if self._random.random() < self._faulty else ""
        threading.Thread(target=self._pass_on, args=(client, fault), daemon=True).start()

    def _pass_on(self, client: socket.socket, fault: str) -> None:
        self.met[fault] += 1
        with client, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(client.shutdown, socket.SHUT_RDWR)  # wakes a thread that waits for data
            if fault == "delay":
                time.sleep(0.3)
            if fault in ("request lost", "502"):
                client.recv(65_536)
                client.sendall(_GATEWAY if fault == "502" else b"")
                return
            with socket.create_connection(("127.0.0.1", self.behind)) as server:
                threading.Thread(target=_forward, args=(client, server), daemon=True).start()
                while data := server.recv(65_536):
                    if fault == "answer cut":
                        client.sendall(data[: len(data) // 2])
                        return
                    if fault != "answer lost":  # else the service did the work, and its answer is lost
                        client.sendall(data)


def _forward(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(65_536):
            server.sendall(data)

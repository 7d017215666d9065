"""A Ray cluster of one machine for a test, and a thread that kills actors there.

`python ray_cluster.py ADDRESS` reads lines "kill NAME" and answers each with a line. Ray runs in a process apart from
the tests because it replaces signal handlers. Imports no pytest.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.ports import free_ports

NAMESPACE = "kd-sweeps"


class RayCluster:
    """A running cluster. env: for every process that uses it. folder: has its logs."""

    def __init__(self, env: Mapping[str, str], address: str, folder: Path) -> None:
        self.env, self.address, self.folder = dict(env), address, folder
        self._killer = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, address],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def kill_actor(self, worker: str) -> bool:
        """End the actor of a worker as `ray.kill` does. Returns whether there was one."""
        return self._ask(f"kill {worker}") == "killed"

    def wait(self) -> None:
        """Return once it accepts work."""
        assert self._ask("here") == "here", (self.folder / "head.txt").read_text()

    def close(self) -> None:
        assert self._killer.stdin
        assert self._killer.stdout
        self._killer.stdin.close()
        self._killer.wait(60)
        self._killer.stdout.close()

    def _ask(self, line: str) -> str:
        assert self._killer.stdin
        assert self._killer.stdout
        self._killer.stdin.write(f"{line}\n")
        self._killer.stdin.flush()
        return self._killer.stdout.readline().strip()


@contextlib.contextmanager
def running_cluster(env: Mapping[str, str]) -> Iterator[RayCluster]:
    """Run a cluster whose nodes have this environment; stopped at the end."""
    # Not pytest's own folder: the path of a socket may have at most 107 characters.
    folder = tempfile.mkdtemp(prefix="kd-ray-")
    ours = {**env, "HOME": folder, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    (port,) = free_ports()
    head = [
        Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}",
        "--num-cpus=4", "--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=100000000",
        "--node-ip-address=127.0.0.1",
    ]  # fmt: skip
    with (Path(folder) / "head.txt").open("w") as out:
        process = subprocess.Popen(head, env=ours, stdout=out, stderr=out, start_new_session=True)
    try:
        cluster = RayCluster(ours, f"127.0.0.1:{port}", Path(folder))
        try:
            cluster.wait()
            yield cluster
        finally:
            cluster.close()
    finally:
        process.terminate()  # with --block it stops what it started
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _obey(address: str) -> None:
    import ray

    host, _, port = address.partition(":")
    while True:
        try:
            with socket.create_connection((host, int(port))):  # Ray itself gives up while nothing listens
                ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
            break
        except (OSError, RuntimeError):  # it is still starting
            time.sleep(0.2)
    for line in sys.stdin:
        word, _, name = line.strip().partition(" ")
        if word == "kill":
            try:
                ray.kill(ray.get_actor(name))
            except ValueError:
                word = "none"
            else:
                word = "killed"
        print(word, flush=True)
    os._exit(0)


if __name__ == "__main__":
    _obey(sys.argv[1])

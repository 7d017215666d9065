"""A Docker engine: that of DOCKER_HOST or of this machine, else one started for the test. Imports no pytest."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TO_INSTALL = "apt-get install --no-install-recommends docker.io docker-cli docker-compose runc iptables mmdebstrap"


class NoEngine(Exception):
    """There is no Docker here; the message says why, and what to type."""


class Failed(Exception):
    """A program failed. The message is its command and the end of its output."""


@dataclass(frozen=True)
class Docker:
    """The docker program, with an environment that selects the engine."""

    environment: Mapping[str, str] = field(repr=False)  # it may hold passwords

    def run(self, *words: str, timeout_s: float = 600, cwd: Path | None = None, text: str | None = None) -> str:
        """Return a command's stdout; Failed where it does not exit with 0 in time."""
        process = self.call(*words, timeout_s=timeout_s, cwd=cwd, text=text)
        if process.returncode != 0:
            raise Failed(f"docker {' '.join(words)}: {(process.stdout + process.stderr)[-3000:]}")
        return process.stdout

    def call(
        self, *words: str, timeout_s: float = 600, cwd: Path | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; return its exit code and both outputs."""
        return subprocess.run(
            ["docker", *words],
            cwd=cwd,
            env=dict(self.environment),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def answers(self) -> bool:
        """Return whether an engine answers."""
        return self.call("version", "--format", "{{.Server.Version}}", timeout_s=30).returncode == 0

    def has(self, image: str) -> bool:
        """Return whether an image exists here."""
        return self.call("image", "inspect", image).returncode == 0

    def inspect(self, *words: str) -> dict[str, Any]:
        (details,) = json.loads(self.run("inspect", *words))
        assert isinstance(details, dict)
        return details


@contextmanager
def engine() -> Iterator[Docker]:
    """Return an engine to build and run in; NoEngine where none can be started."""
    if shutil.which("docker") is None:
        raise NoEngine(f"no docker on the PATH; on Debian, as root: {TO_INSTALL}")
    docker = Docker(dict(os.environ))
    if docker.answers():
        yield docker
    elif "DOCKER_HOST" in os.environ:
        raise NoEngine(f"no engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}")
    elif os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngine(f"no Docker engine runs here; start it, or be root on Debian with: {TO_INSTALL}")
    else:
        with own_engine() as docker:
            yield docker


@contextmanager
def own_engine() -> Iterator[Docker]:
    """Start a dockerd with its own folders and socket, and remove them at the end."""
    bridged = Path("/sys/class/net/docker0").exists()
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-docker-") as name:
        folder = Path(name)
        address = f"unix://{folder}/engine.sock"
        with (folder / "engine.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "dockerd",
                    *("--data-root", folder / "data"),
                    *("--exec-root", folder / "exec"),
                    *("--pidfile", folder / "engine.pid"),
                    *("-H", address),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            docker = Docker(dict(os.environ) | {"DOCKER_HOST": address})
            _await(docker, process, folder / "engine.log")
            yield docker
        finally:
            process.terminate()  # it stops its containers and unmounts their disks
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # dockerd bind-mounts its data folder onto itself and may leave that mount, which os.path.ismount misses.
            subprocess.run(["umount", folder / "data"], capture_output=True, check=False)
            if not bridged:
                subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)


def _await(docker: Docker, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not docker.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoEngine(f"dockerd does not come up: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.2)

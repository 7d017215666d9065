"""The stack of docker-compose.yml with its own name, volumes, image tag and port."""

import contextlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.containers.engine import Docker, Failed, NoEngine
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
SCRATCH = ("/tmp:uid=1000,gid=1000", "/home/kd:uid=1000,gid=1000")
"""Folders other than the cache that our containers write to when their disk is read-only, as on Kubernetes."""


@dataclass(frozen=True)
class Stack:
    """One compose project, separate from any other on the engine.

    Attributes:
        settings: what a user has in .env.
    """

    docker: Docker
    image: str
    folder: Path
    settings: Mapping[str, str]
    name: str = field(default_factory=lambda: f"kd-sweeps-test-{secrets.token_hex(4)}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    def call(self, *words: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *_program(self.docker),
                *("--project-name", self.name),
                *("--project-directory", str(REPOSITORY)),
                *("--env-file", str(self.folder / ".env")),
                *("--file", str(COMPOSE_FILE)),
                *("--file", str(self.folder / "ours.json")),
                *words,
            ],
            env=dict(self.docker.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def run(self, *words: str, timeout_s: float = 600) -> str:
        """Return the output of a compose command; Failed where it does not exit with 0."""
        process = self.call(*words, timeout_s=timeout_s)
        if process.returncode != 0:
            raise Failed(f"compose {' '.join(words)}: {(process.stdout + process.stderr)[-3000:]}")
        return process.stdout

    def containers(self, service: str) -> list[str]:
        """Return the containers of a service, including ended ones."""
        return self.run("ps", "--all", "--quiet", service).split()

    def state(self, container: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.docker.inspect(container)["State"]
        return answer

    def logs(self) -> str:
        process = self.call("logs", "--no-color", "--timestamps", "--tail", "60")
        return process.stdout + process.stderr

    def write(self) -> None:
        """Write the files that compose reads in addition to ours; workers get the rights they have on Kubernetes."""
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        ours: dict[str, dict[str, Any]] = {name: {"image": self.image} for name in ("init", "worker", "service")}
        ours["worker"] |= {"read_only": True, "cap_drop": ["ALL"], "tmpfs": list(SCRATCH)}
        (self.folder / "ours.json").write_text(json.dumps({"services": ours}))


def _program(docker: Docker) -> list[str]:
    if docker.call("compose", "version").returncode == 0:
        return ["docker", "compose"]
    if (program := shutil.which("docker-compose")) is None:
        raise NoEngine("neither `docker compose` nor docker-compose is here; on Debian: apt-get install docker-compose")
    return [program]


@contextmanager
def stack(docker: Docker, image: str, folder: Path, **settings: str) -> Iterator[Stack]:
    """Prepare a stack that is not up yet; removed at the end with its volumes."""
    services = Stack(docker, image, folder, {"PORT": str(free_ports()[0])} | settings)
    services.write()
    try:
        yield services
    finally:
        with contextlib.suppress(Failed):
            services.run("--profile", "monitoring", "down", "--volumes", "--remove-orphans", "--timeout", "20")

"""The engine ray. Each worker is an actor of the cluster."""

import contextlib
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy

from storage.db.engine import open_engine
from storage.errors import StorageError
from storage.records.queries import last_log
from sweeps.contrib.ray import driver
from sweeps.errors import SweepError
from sweeps.extensions import require
from sweeps.launch.engine import Request
from sweeps.launch.local import WORKER_VARIABLE, log_tail
from sweeps.terminal import say
from sweeps.workers import environment, logs, reach
from sweeps.workers.worker import worker_id

_CONNECT_S = 120.0  # Ray takes seconds, a new local cluster on a busy machine half a minute

_NOT_PASSED = (WORKER_VARIABLE, logs.LOG_VARIABLE, environment.GPU_VARIABLE)  # describe this process


@dataclass
class RayWorker:
    """One worker of the cluster. slot: its index among the workers of the launch."""

    slot: int
    worker: str
    engine: "RayEngine" = field(repr=False)
    place: driver.WorkerStarted | None = None  # None while it waits for free resources
    began: float = 0.0  # monotonic seconds
    exit: driver.Exit | None = None
    why: str = ""
    replacement: None = None  # only the launch replaces it

    @property
    def log_place(self) -> str:
        if self.place is None:
            return "none, it never got a node"
        return self.place.log_file if self._is_here else f"{self.place.log_file} on {self.place.host}"

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal or if its actor died; None while it runs or waits for a node."""
        self.engine.read_news()
        return self.exit.code if self.exit else None

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.began if self.place else 0.0

    def send(self, number: int) -> None:
        if self.exit is None:
            self.engine.tell(driver.Signal(self.worker, number))

    def wake(self) -> None:
        """Do nothing: it listens itself."""

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.exit = self.exit or driver.Exit(-signal.SIGKILL, None)

    def end_children(self) -> None:
        """Do nothing: its actor ends its processes, and processes without an actor exit."""

    def last_lines(self, count: int) -> list[str]:
        lines = log_tail(self._log() or self._log_in_storage(), self.code, count)
        return [*lines, f"Ray: {self.why}"] if self.why else lines

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        """Return the end of its log; None if only the storage has it, from its heartbeat."""
        log = self._log()
        return None if log is None else logs.redact_tail(log, url)

    @property
    def _is_here(self) -> bool:
        return self.place is not None and self.place.host == platform.node()

    def _log(self) -> str | None:
        if self.exit and self.exit.log is not None:
            return self.exit.log
        return logs.end_of(Path(self.place.log_file)) if self.place and self._is_here else None

    def _log_in_storage(self) -> str | None:
        url = self.engine.request.url
        if isinstance(url, reach.Service):
            return None
        with contextlib.suppress(StorageError):
            engine = open_engine(url, read_only=True)
            try:
                return last_log(engine, self.worker)
            finally:
                engine.dispose()
        return None


@dataclass
class RayEngine:
    request: Request
    cluster: driver.Cluster
    stop_s: float = 15.0
    _members: dict[str, RayWorker] = field(default_factory=dict)
    _pipe: Connection | None = None
    _log_file: Path = Path()

    def connect(self) -> None:
        self._log_file = reach.log_folder(self.request.url, self.request.sweep) / f"ray-{worker_id()}.txt"
        os.close(logs.open_log(self._log_file))  # one line if it cannot be written
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=driver.drive, args=(theirs, self.cluster, str(self._log_file)), daemon=True)
        process.start()
        theirs.close()
        try:
            answer = self._pipe.recv() if self._pipe.poll(_CONNECT_S) else None
        except EOFError:  # Ray has ended the process
            answer = None
        if not isinstance(answer, driver.Ready):
            self._pipe = None
            raise SweepError(self._refusal(answer.why if isinstance(answer, driver.Refused) else "no answer"))
        for name, size in self.cluster.wanted.items():
            if size > answer.most[name]:
                say(
                    f"no node of this Ray cluster has {name} {size:g} for a worker (most: {answer.most[name]:g});"
                    " the workers wait for one"
                )

    def start(self, slots: Sequence[int], first: int) -> list[RayWorker]:
        if self._pipe is None:
            self.connect()
        variables = {name: value for name, value in os.environ.items() if name.startswith("KD_SWEEPS_")}
        for name in _NOT_PASSED:
            variables.pop(name, None)
        started = []
        for place, slot in enumerate(slots):
            worker = RayWorker(slot, f"{worker_id()}-{first + place}", self)
            own = {**reach.variables(self.request.url), WORKER_VARIABLE: worker.worker}
            self._members[worker.worker] = worker
            gpu = self.cluster.num_gpus > 0
            folder = reach.log_folder(self.request.url, self.request.sweep).name
            self.tell(driver.StartWorker(self.request.sweep, worker.worker, folder, variables | own, gpu=gpu))
            started.append(worker)
        return started

    def tell(self, message: driver.StartWorker | driver.Signal) -> None:
        """Send a message to the driver process; `read_news` notices if it has exited."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(message)

    def read_news(self) -> None:
        try:
            while self._pipe is not None and self._pipe.poll():
                self._note(self._pipe.recv())
        except (EOFError, OSError):
            self._pipe = None
            death, why = driver.Exit(-signal.SIGKILL, None), f"connection to the cluster lost; see {self._log_file}"
            for worker in list(self._members):
                self._note(driver.Ended(worker, death, why))

    def _note(self, news: driver.Started | driver.Ended) -> None:
        if (worker := self._members.get(news.worker)) is None:
            return
        if isinstance(news, driver.Started):
            worker.place, worker.began = news.place, time.monotonic()
            return
        del self._members[worker.worker]
        worker.exit, worker.why = worker.exit or news.exit, news.why
        if worker.exit.code == 0:  # nothing is left to do, also for workers that wait for a node
            for other in [waiting for waiting in self._members.values() if waiting.place is None]:
                self.tell(driver.Signal(other.worker, signal.SIGKILL))
                self._note(driver.Ended(other.worker, driver.Exit(0, None)))

    def _refusal(self, why: str) -> str:
        named = {"auto": "", "local": " on this machine"}.get(self.cluster.address, f" at {self.cluster.address}")
        help_ = "start one: ray start --head; or name it: -- --address=HOST:6379"
        reason = why[:300].rstrip(". ")
        return f"--on ray: no Ray cluster{named} can be used: {reason}; {help_}; what Ray printed: {self._log_file}"


def ray_engine(request: Request) -> RayEngine:
    cluster = driver.parse(request.options)
    require("ray", "--on ray")
    engine = RayEngine(request, cluster)
    engine.connect()
    return engine

"""The process that talks to the cluster, its options, its actor. Nothing of Ray is imported before it runs.

It is a process of its own, because Ray takes its driver over: it prints into the terminal, sets handlers for signals,
and ends the process when its cluster goes. Here the output goes into a file, and the launch lives on.
"""

import contextlib
import importlib
import json
import logging
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.errors import SpecError, SweepError
from sweeps.workers import environment, heartbeat, logs

_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class StartWorker:
    """Which worker to start. variables: of its environment, the storage's URL among them; gpu: it gets a device.

    folder: name of the sweep's log folder on every node.
    """

    sweep: str
    worker: str
    folder: str
    variables: Mapping[str, str] = field(repr=False)  # a password is nothing for a log of Ray
    gpu: bool = False


@dataclass(frozen=True)
class WorkerStarted:
    """Where a worker runs. trouble: why it does not, "" if it does."""

    host: str
    log_file: str
    trouble: str = ""


@dataclass(frozen=True)
class Exit:
    """log: its end; None: it cannot be read."""

    code: int
    log: str | None


class WorkerActor:
    """Keeps one worker: a process of its own on this node, which stops when this one is gone."""

    def start(self, order: StartWorker) -> WorkerStarted:
        self._log_file = logs.log_root() / order.folder / f"{order.worker}.log"
        try:
            out = logs.open_log(self._log_file)
        except SweepError as error:
            return WorkerStarted(platform.node(), str(self._log_file), str(error))
        variables = {logs.LOG_VARIABLE: str(self._log_file), heartbeat.PARENT_PIPE_VARIABLE: heartbeat.ENDS}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweeps.cli", "worker", order.sweep],
                env=os.environ | {**order.variables} | variables | _device(order),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        finally:
            os.close(out)
        return WorkerStarted(platform.node(), str(self._log_file))

    def wait(self, seconds: float) -> Exit | None:
        """Return how the worker ended; None: it lives after so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._clear()
        return Exit(code, logs.end_of(Path(self._log_file)))

    def send(self, number: int) -> None:
        # Ray blocks Ctrl-C in everything that it starts, and what that starts in turn never sees it.
        self._process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._clear()

    def _clear(self) -> None:
        """Close the pipe that tells children to exit, and kill those left: a frozen one does not see it close."""
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS: none but dead ones
            os.killpg(self._process.pid, signal.SIGKILL)  # of its own, since it leads a session


def _device(order: StartWorker) -> dict[str, str]:
    # The device that Ray gave this actor; without one all are hidden.
    given = os.environ.get(_DEVICES, "") if order.gpu else ""
    return {_DEVICES: given, environment.GPU_VARIABLE: given} if given else {_DEVICES: ""}


EXAMPLE = "--address=auto --num-cpus=1 --num-gpus=0 --resources='{\"NAME\": 1}'"


@dataclass(frozen=True)
class Cluster:
    """Which Ray cluster works, and what it sets aside for each worker. resources: of the user's own, by name.

    address: HOST:PORT; "auto": the one of this machine, or of RAY_ADDRESS; "local": a new one, which ends with us.
    """

    address: str = "auto"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)

    @property
    def wanted(self) -> dict[str, float]:
        sizes = {"CPU": self.num_cpus, "GPU": self.num_gpus} | self.resources
        return {name: size for name, size in sizes.items() if size}


def parse(options: Sequence[str]) -> Cluster:
    given: dict[str, str] = {}
    words = list(options)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in ("--address", "--num-cpus", "--num-gpus", "--resources"):
            raise SpecError(f"got {word!r} after --; --on ray takes {EXAMPLE}")
        if not equals:
            if not words:
                raise SpecError(f"{name} has no value; --on ray takes {EXAMPLE}")
            value = words.pop(0)
        given[name] = value
    return Cluster(
        address=_address(given.get("--address", "auto")),
        num_cpus=_amount("--num-cpus", given.get("--num-cpus", "1")),
        num_gpus=_amount("--num-gpus", given.get("--num-gpus", "0")),
        resources=_resources(given.get("--resources", "{}")),
    )


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text in ("auto", "local") or (host and colon and port.isdecimal() and "/" not in host):
        return text
    raise SpecError(
        f"--address: got {text!r}; allowed: auto, local, or HOST:PORT of the head, such as 10.0.0.5:6379, typed on a"
        " machine of the cluster"
    )


def _amount(option: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    # Ray shares a device, but gives only whole ones beyond the first.
    if not 0 <= amount <= 10_000 or (option == "--num-gpus" and amount > 1 and not amount.is_integer()):
        raise SpecError(f"{option}: got {text!r}; allowed: how many each worker gets, for example {option}=1")
    return amount


def _resources(text: str) -> dict[str, float]:
    try:
        values = json.loads(text)
        sizes = {str(name): float(size) for name, size in values.items()}
    except (ValueError, TypeError, AttributeError):
        sizes = {"": math.nan}
    if not all(name and name not in ("CPU", "GPU") and 0 < size < math.inf for name, size in sizes.items()):
        raise SpecError(
            f"--resources: got {text!r}; allowed: JSON with the resources that your nodes declare, for example"
            " --resources='{\"a100\": 1}'; processors and devices have --num-cpus and --num-gpus"
        )
    return sizes


NAMESPACE = "kd-sweeps"  # of the actors in Ray's own lists; each has the name of its worker

_POLL_S = 0.2
_WAIT_S = 5.0  # of one question whether a worker lives; its answer comes at once when it or its actor dies
_REACH_S = 10.0
_SILENT_S = 10.0
_KILL_S = 1.0
_LEAVE_S = 8.0  # a task is given back within 5 s


@dataclass(frozen=True)
class Ready:
    """The cluster is there. most: the most of each resource that one of its nodes has."""

    most: dict[str, float]


@dataclass(frozen=True)
class Refused:
    why: str


@dataclass(frozen=True)
class Signal:
    """Send a worker a signal; SIGKILL ends its actor, too."""

    worker: str
    number: int


@dataclass(frozen=True)
class Started:
    worker: str
    place: WorkerStarted


@dataclass(frozen=True)
class Ended:
    """A worker ended. why: what Ray says where its actor died, and with it what it started."""

    worker: str
    exit: Exit
    why: str = ""


@dataclass
class _Kept:
    """A worker. answer: of its actor, still awaited; silent_s: since when it cannot be reached, monotonic."""

    worker: str
    actor: Any
    answer: Any
    runs: bool = False
    silent_s: float | None = None


def drive(pipe: Connection, cluster: Cluster, log_file: str) -> None:
    """Connect to a cluster, and do there what comes through the pipe, until its other end has gone.

    pipe: takes a StartWorker or a Signal, gives Ready or Refused, then Started and Ended. log_file: of what Ray prints.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launch, which passes it on
    os.setsid()
    out = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    try:
        _connect(cluster)
    except Exception as error:  # of Ray, which has no class for them
        pipe.send(Refused(" ".join(str(error).split())))
        return
    signal.signal(signal.SIGTERM, _leave)  # not Ray's own handler
    with pipe:  # whatever happens here: the launch sees it end
        driver = _Driver(pipe, cluster)
        try:
            driver.run()
        except (EOFError, OSError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            driver.dismiss()
    if cluster.address == "local":  # one of our own has to be taken down in order
        _ray().shutdown()
    os._exit(0)  # Ray would take ten seconds to say goodbye to nodes that are gone, and the launch would wait


def _leave(number: int, frame: FrameType | None) -> None:
    # As when the launch has gone, which is about to.
    raise EOFError


def _ray() -> Any:
    return importlib.import_module("ray")  # seconds; and its types are not there where it is not installed


def _connect(cluster: Cluster) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start reports nothing
    ray = _ray()
    more: dict[str, Any] = {"include_dashboard": False} if cluster.address == "local" else {}
    if cluster.address not in ("auto", "local"):  # Ray itself would try for minutes, and then end this process
        host, _, port = cluster.address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S):
            pass
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING, **more)


class _Driver:
    def __init__(self, pipe: Connection, cluster: Cluster) -> None:
        self._pipe, self._ray = pipe, (ray := _ray())
        self._kept: dict[str, _Kept] = {}
        self._actor = ray.remote(
            num_cpus=cluster.num_cpus,
            num_gpus=cluster.num_gpus,
            resources=cluster.resources,
            max_restarts=0,  # the launch replaces workers, and knows when to stop
            max_concurrency=2,  # one method waits for the worker, another sends it a signal
        )(WorkerActor)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in cluster.wanted}
        pipe.send(Ready(most))

    def run(self) -> None:
        while True:
            if self._pipe.poll(_POLL_S):
                self._serve(self._pipe.recv())
            for news in self._news():
                self._pipe.send(news)

    def dismiss(self) -> None:
        # The launch has gone, and Ray ends what is left when we go: until then the workers give their tasks back.
        for kept in self._kept.values():
            kept.actor.send.remote(signal.SIGTERM)
        deadline = time.monotonic() + _LEAVE_S
        while self._kept and time.monotonic() < deadline:
            for _ in self._news():
                pass
            time.sleep(_POLL_S)

    def _serve(self, message: StartWorker | Signal) -> None:
        if isinstance(message, StartWorker):
            actor = self._actor.options(name=message.worker).remote()
            # The URL goes to the actor alone: what stands in its options, Ray shows on its dashboard.
            self._kept[message.worker] = _Kept(message.worker, actor, actor.start.remote(message))
        elif (kept := self._kept.get(message.worker)) is None:
            return
        elif kept.runs and message.number != signal.SIGKILL:
            kept.actor.send.remote(message.number)
        else:
            if kept.runs:  # what it started does not always see that it has gone
                self._ray.wait([kept.actor.kill.remote()], timeout=_KILL_S)
            self._end(kept)
            self._pipe.send(Ended(kept.worker, Exit(-message.number, None)))

    def _end(self, kept: _Kept) -> None:
        del self._kept[kept.worker]
        self._ray.kill(kept.actor)

    def _news(self) -> Iterator[Started | Ended]:
        by_answer = {kept.answer: kept for kept in self._kept.values()}
        if not by_answer:
            return
        ready, _ = self._ray.wait(list(by_answer), num_returns=len(by_answer), timeout=0)
        for answer in ready:
            kept = by_answer[answer]
            try:
                value = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                if self._may_come_back(kept, error):
                    kept.answer = kept.actor.wait.remote(_WAIT_S)
                    continue
                print(error, flush=True)
                self._end(kept)
                yield Ended(kept.worker, Exit(-signal.SIGKILL if kept.runs else 1, None), _reason(str(error)))
                continue
            kept.silent_s = None
            if isinstance(value, Exit):
                self._end(kept)
                yield Ended(kept.worker, value)
            elif isinstance(value, WorkerStarted) and value.trouble:
                self._end(kept)
                yield Ended(kept.worker, Exit(1, None), value.trouble)
            else:
                kept.runs = True
                if isinstance(value, WorkerStarted):
                    yield Started(kept.worker, value)
                kept.answer = kept.actor.wait.remote(_WAIT_S)

    def _may_come_back(self, kept: _Kept, error: Exception) -> bool:
        """Return whether an actor cannot be reached at the moment, and was not for a short time only."""
        if not isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return False
        kept.silent_s = kept.silent_s or time.monotonic()
        return time.monotonic() - kept.silent_s < _SILENT_S


def _reason(text: str) -> str:
    """Return what Ray says of a dead actor in one sentence: what went wrong in it, or what became of it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    last = lines[-1] if lines else "it does not say why"
    help_ = "; install the same kd-sweeps on every node" if "No module named 'sweeps" in last else ""
    return last.split(". ")[0][:300] + help_

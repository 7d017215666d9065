"""The driver process of a Ray cluster, its options and its actor. Ray is imported only in that process.

A separate process, because Ray takes over its driver: it prints to the terminal, sets signal handlers, and ends the
process when the cluster disappears. Here its output goes to a file, and the launch survives.
"""

import argparse
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
    """A request for a worker. variables: its environment, with the URL of the storage. gpu: it gets a device.

    folder: name of the sweep's log folder on every node.
    """

    sweep: str
    worker: str
    folder: str
    variables: Mapping[str, str] = field(repr=False)  # keeps the password out of Ray's logs
    gpu: bool = False


@dataclass(frozen=True)
class WorkerStarted:
    """The place of a worker. trouble: why it could not start, or ""."""

    host: str
    log_file: str
    trouble: str = ""


@dataclass(frozen=True)
class Exit:
    """The end of a worker. log: the end of its log; None if it cannot be read."""

    code: int
    log: str | None


class WorkerActor:
    """Runs one worker as a process on its node, which exits with this one."""

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
        """Wait for the end of the worker; None if it is still running after so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._clear()
        return Exit(code, logs.end_of(Path(self._log_file)))

    def send(self, number: int) -> None:
        # Ray blocks SIGINT in its processes, and their children inherit that.
        self._process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._clear()

    def _clear(self) -> None:
        """Close the pipe that tells children to exit, then kill the rest: a frozen one does not notice."""
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; on macOS only zombies
            os.killpg(self._process.pid, signal.SIGKILL)  # the worker leads its session


def _device(order: StartWorker) -> dict[str, str]:
    # The device that Ray gave to this actor; without one, all are hidden.
    devices = os.environ.get(_DEVICES, "") if order.gpu else ""
    return {_DEVICES: devices, environment.GPU_VARIABLE: devices} if devices else {_DEVICES: ""}


EXAMPLE = "--address=auto --num-cpus=1 --num-gpus=0 --resources='{\"NAME\": 1}'"


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster and its resources for each worker. resources: custom ones, by name.

    address: HOST:PORT; "auto": that of this machine or of RAY_ADDRESS; "local": a new one that ends with the launch.
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
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, default in (("--address", "auto"), ("--num-cpus", "1"), ("--num-gpus", "0"), ("--resources", "{}")):
        parser.add_argument(name, default=default)
    try:
        values, unknown = parser.parse_known_args(options)
    except argparse.ArgumentError as error:
        raise SpecError(f"{error.argument_name} has no value; --on ray takes {EXAMPLE}") from None
    if unknown:
        raise SpecError(f"got {unknown[0]!r} after --; --on ray takes {EXAMPLE}")
    cpus, gpus = _amount("--num-cpus", values.num_cpus), _amount("--num-gpus", values.num_gpus)
    return Cluster(_address(values.address), cpus, gpus, _resources(values.resources))


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text in ("auto", "local") or (host and colon and port.isdecimal() and "/" not in host):
        return text
    raise SpecError(
        f"--address: got {text!r}; allowed: auto, local, or HOST:PORT of the head, such as 10.0.0.5:6379; use a machine"
        " of the cluster"
    )


def _amount(option: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    # Ray allows a share of one device, but only whole devices above one.
    if not 0 <= amount <= 10_000 or (option == "--num-gpus" and amount > 1 and not amount.is_integer()):
        raise SpecError(f"{option}: got {text!r}; allowed: a number for each worker, for example {option}=1")
    return amount


def _resources(text: str) -> dict[str, float]:
    try:
        values = json.loads(text)
        sizes = {str(name): float(size) for name, size in values.items()}
    except (ValueError, TypeError, AttributeError):
        sizes = {"": math.nan}
    if not all(name and name not in ("CPU", "GPU") and 0 < size < math.inf for name, size in sizes.items()):
        raise SpecError(
            f"--resources: got {text!r}; allowed: JSON with resources that your nodes declare, for example"
            " --resources='{\"a100\": 1}'; for processors and devices: --num-cpus and --num-gpus"
        )
    return sizes


NAMESPACE = "kd-sweeps"  # of the actors, which have the names of their workers

_POLL_S = 0.2
_WAIT_S = 5.0  # of one wait for the end of a worker, which returns at once when it or its actor dies
_REACH_S = 10.0
_SILENT_S = 10.0
_KILL_S = 1.0
_LEAVE_S = 8.0  # a worker releases its task within 5 s


@dataclass(frozen=True)
class Ready:
    """The cluster is connected. most: of each resource, the most that a node has."""

    most: dict[str, float]


@dataclass(frozen=True)
class Refused:
    why: str


@dataclass(frozen=True)
class Signal:
    """A signal for a worker; SIGKILL ends its actor, too."""

    worker: str
    number: int


@dataclass(frozen=True)
class Started:
    worker: str
    place: WorkerStarted


@dataclass(frozen=True)
class Ended:
    """A worker ended. why: Ray's reason if its actor died, and its processes with it."""

    worker: str
    exit: Exit
    why: str = ""


@dataclass
class _Kept:
    """A worker. answer: pending result of its actor. silent_s: since when it is unreachable, monotonic seconds."""

    worker: str
    actor: Any
    answer: Any
    runs: bool = False
    silent_s: float | None = None


def drive(pipe: Connection, cluster: Cluster, log_file: str) -> None:
    """Connect to a cluster and execute the messages of the pipe until its other end closes.

    pipe: receives StartWorker and Signal; sends Ready or Refused, then Started and Ended. log_file: for Ray's output.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the launch sends a message
    os.setsid()
    out = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    try:
        _connect(cluster)
    except Exception as error:  # Ray raises many classes here
        pipe.send(Refused(" ".join(str(error).split())))
        return
    signal.signal(signal.SIGTERM, _leave)  # replaces Ray's handler
    with pipe:  # closed in any case, so that the launch notices
        driver = _Driver(pipe, cluster)
        try:
            driver.run()
        except (EOFError, OSError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            driver.dismiss()
    if cluster.address == "local":  # a cluster of this launch must be shut down
        _ray().shutdown()
    os._exit(0)  # Ray would wait ten seconds for nodes that have disappeared


def _leave(number: int, frame: FrameType | None) -> None:
    # As if the launch had closed the pipe, which it is about to do.
    raise EOFError


def _ray() -> Any:
    return importlib.import_module("ray")  # takes seconds; without types, since it may not be installed


def _connect(cluster: Cluster) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a local cluster
    ray = _ray()
    more: dict[str, Any] = {"include_dashboard": False} if cluster.address == "local" else {}
    if cluster.address not in ("auto", "local"):  # Ray would retry for minutes, then end this process
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
            max_restarts=0,  # the launch replaces workers
            max_concurrency=2,  # `wait` blocks while `send` delivers a signal
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
        # Without the launch: the workers release their tasks before Ray ends them with this process.
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
            # The URL is an argument, not an option: Ray shows the options of actors on its dashboard.
            self._kept[message.worker] = _Kept(message.worker, actor, actor.start.remote(message))
        elif (kept := self._kept.get(message.worker)) is None:
            return
        elif kept.runs and message.number != signal.SIGKILL:
            kept.actor.send.remote(message.number)
        else:
            if kept.runs:  # its processes do not always notice that it has exited
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
        """Return whether an actor has become unreachable only a short time ago."""
        if not isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return False
        kept.silent_s = kept.silent_s or time.monotonic()
        return time.monotonic() - kept.silent_s < _SILENT_S


def _reason(text: str) -> str:
    """Shorten Ray's message about a dead actor to its cause, in one sentence."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    last = lines[-1] if lines else "no reason given"
    help_ = "; install the same kd-sweeps on every node" if "No module named 'sweeps" in last else ""
    return last.split(". ")[0][:300] + help_

"""Does the service answer under load? A real service on real sweeps, real workers, and clients in processes.

    python bench/service.py [--quick] [--only sqlite|postgres] [--page FILE]

Replaces the section "Service under load" of bench/results/results.md. Exits with 1 if a target was missed.
"""

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # for the Postgres server of the tests

import optuna
import sqlalchemy

from storage.url import plain, resolve
from support.page import Origin, make_parser, table, write_section
from support.sweeps import KINDS
from tests.support.postgres_server import PostgresServer, running_server
from tests.support.sweeps import reported_sweeps
from tests.support.web.services import TOKENS, VIEWER, serving_program

WORKERS, VIEWERS, FOLLOWERS, ASKERS, WATCHERS = 8, 20, 100, 64, 4
READY_S, STATUS_S, FROZEN_S = 1.0, 1.0, 10.0  # targets: the slowest probe, the p99 of status, the slowest 503
LARGE = "large"  # a study with the trials of a large search
FINISHED, RUNNING = "s", "running"
REPORT = "/api/v1/sweeps/{}/report?format=html"
PAGES = (REPORT.format(FINISHED), f"/sweeps/{FINISHED}", REPORT.format(RUNNING), f"/sweeps/{RUNNING}", "/")
STATUS = (f"/api/v1/sweeps/{RUNNING}", f"/api/v1/sweeps/{FINISHED}")
# Half a second of a core, plus the start of its process.
TRAIN = """
import math, time

def train(temperature=4.0, alpha=0.5, *, seed, report):
    until = time.process_time() + 0.5
    while time.process_time() < until:
        math.factorial(3000)
    score = 0.9 - 0.02 * math.log(temperature / 6) ** 2 - 0.1 * (alpha - 0.3) ** 2
    report(1.0, validation=score)
    return score
"""


@dataclass
class Answers:
    """The answers of one route, seconds. others: counts by status, neither 200 nor 503."""

    database: str
    load: str
    route: str
    clients: int
    took: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)

    @property
    def slowest(self) -> float:
        return max([*self.took, *self.refused], default=0.0)

    @property
    def p99(self) -> float:
        took = sorted(self.took)
        return took[int(0.99 * (len(took) - 1))] if took else 0.0

    def row(self) -> tuple[str, ...]:
        p50 = f"{median(self.took):.2f}" if self.took else "-"
        others = ", ".join(f"{status}: {count}" for status, count in self.others.items()) or "0"
        slowest = f"{self.slowest:.2f}"
        counts = f"{len(self.took):,}", p50, f"{self.p99:.2f}", slowest, str(len(self.refused)), others
        return self.database, self.load, f"`{self.route}`", str(self.clients), *counts


def ask(port: int, path: str, timeout: float = 120) -> tuple[int, float]:
    """Send a request; return the status, 0 without an answer, and the seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {VIEWER}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began
    except (OSError, http.client.HTTPException):
        return 0, time.monotonic() - began
    finally:
        connection.close()


def run_clients(client: Callable[[int], None], clients: int) -> None:
    """Run clients as threads until all have ended."""
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def keep_asking(port: int, paths: Sequence[str], clients: int, seconds: float, pause_s: float) -> dict[str, Any]:
    """Let clients send requests for some seconds; return the answers by path."""
    answers: dict[str, list[tuple[int, float]]] = {path: [] for path in paths}
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            path = paths[turn % len(paths)]
            answers[path].append(ask(port, path))
            turn += 1
            time.sleep(pause_s)

    run_clients(client, clients)
    return answers


def keep_following(port: int, clients: int, seconds: float) -> int:
    """Let clients follow a page or the log of a running task; return the number of lines."""
    until, counts = time.monotonic() + seconds, [0] * clients

    def client(number: int) -> None:
        while time.monotonic() < until:
            path = f"/events/sweeps/{RUNNING}" if number % 2 else running_log(port)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                connection.request("GET", path, headers={"Authorization": f"Bearer {VIEWER}"})
                for _ in connection.getresponse():
                    counts[number] += 1
                    if time.monotonic() > until:
                        break
            time.sleep(0.5)

    run_clients(client, clients)
    return sum(counts)


def running_log(port: int) -> str:
    """Return the path of the log of a running task, or of the page while none runs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", STATUS[0], headers={"Authorization": f"Bearer {VIEWER}"})
        workers = json.loads(connection.getresponse().read()).get("workers")
        if workers:
            return f"/api/v1/sweeps/{RUNNING}/tasks/{workers[0]['task'].replace('#', '%23')}/log?follow=true"
    return f"/events/sweeps/{RUNNING}"


class Run:
    """A database with a service, and the answers that its clients got."""

    def __init__(self, database: str, port: int, seconds: float, pool: ProcessPoolExecutor) -> None:
        self.database, self.port, self.seconds, self._pool = database, port, seconds, pool
        self.answers: list[Answers] = []

    def load(self, name: str, *askers: tuple[Sequence[str], int, float], followers: int = 0) -> None:
        """Run clients, each group in a process. askers: paths, clients, pause between two requests."""
        followed = self._pool.submit(keep_following, self.port, followers, self.seconds) if followers else None
        groups: list[tuple[int, Future[dict[str, Any]]]] = []
        for paths, clients, pause_s in askers:
            work = self._pool.submit(keep_asking, self.port, paths, clients, self.seconds, pause_s)
            groups.append((clients, work))
        for clients, work in groups:
            for path, answers in work.result().items():
                self.note(name, path, clients, answers)
        if followed is not None:
            print(f"{self.database}, {name}: {followed.result():,} lines followed", file=sys.stderr)

    def note(self, name: str, path: str, clients: int, results: list[tuple[int, float]]) -> None:
        answers = Answers(self.database, name, path, clients)
        for status, took in results:
            if status == 200:
                answers.took.append(took)
            elif status == 503:
                answers.refused.append(took)
            else:
                answers.others[status] = answers.others.get(status, 0) + 1
        self.answers.append(answers)

    def freeze(self, server: PostgresServer, paths: Sequence[str]) -> None:
        with server.frozen():
            work = [self._pool.submit(keep_asking, self.port, [path], 1, 0.1, 0) for path in paths]
            for path, future in zip(paths, work, strict=True):
                self.note("Postgres frozen", path, 1, future.result()[path])
        began = time.monotonic()
        while ask(self.port, "/readyz")[0] != 200:
            time.sleep(0.1)
        self.note("Postgres thawed", "/readyz", 1, [(200, time.monotonic() - began)])


def write_large(url: str, trials: int) -> int:
    """Write a study of copies of one trial; return its id. Optuna itself would take minutes."""
    study = optuna.create_study(study_name=LARGE, storage=optuna.storages.RDBStorage(plain(resolve(url))))
    attributes = {f"attribute {number}": f"value {number}" for number in range(7)}
    number = optuna.distributions.FloatDistribution(0, 20)
    space: dict[str, optuna.distributions.BaseDistribution] = {"temperature": number, "alpha": number}
    first = optuna.trial.create_trial(
        params={"temperature": 4.0, "alpha": 0.5}, distributions=space, value=0.9, user_attrs=attributes
    )
    study.add_trial(first)
    engine = sqlalchemy.create_engine(resolve(url))
    metadata = sqlalchemy.MetaData()
    names = ["studies", "trials", "trial_params", "trial_values", "trial_user_attributes"]
    metadata.reflect(engine, only=names)
    trial = metadata.tables["trials"]
    with engine.begin() as connection:
        of_study = sqlalchemy.select(metadata.tables["studies"].c.study_id).filter_by(study_name=LARGE)
        study_id = int(connection.execute(of_study).scalar_one())
        row = dict(connection.execute(sqlalchemy.select(trial).where(trial.c.study_id == study_id)).one()._mapping)
        template = row.pop("trial_id")
        connection.execute(trial.insert(), [row | {"number": count} for count in range(1, trials)])
        of_trials = sqlalchemy.select(trial.c.trial_id).where(trial.c.study_id == study_id, trial.c.number > 0)
        ids = connection.scalars(of_trials).all()
        for child in (metadata.tables[name] for name in names[2:]):
            key = next(iter(child.primary_key)).name
            for first_row in connection.execute(sqlalchemy.select(child).where(child.c.trial_id == template)).all():
                values = {name: value for name, value in first_row._mapping.items() if name != key}
                connection.execute(child.insert(), [values | {"trial_id": trial_id} for trial_id in ids])
    engine.dispose()
    return study_id


@contextlib.contextmanager
def at_work(url: str, folder: Path) -> Iterator[None]:
    """Run a second sweep with real workers."""
    (folder / "train.py").write_text(TRAIN)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KD_SWEEPS", "OPTUNA"))}
    environment |= {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sweeps.cli"]
    space = "--space temperature=1.0:20.0:log --space alpha=0.0:1.0 --set search.trials=200 --set transfer.margin=0.5"
    create = [*command, "create", RUNNING, "--train", "./train.py:train", *space.split()]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(create, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    launch = [*command, "launch", RUNNING, "--workers", str(WORKERS)]
    # A new session, as a terminal or a systemd unit has: Linux divides the cores among sessions.
    with subprocess.Popen(launch, cwd=folder, env=environment, start_new_session=True, **quiet) as launched:
        try:
            yield
        finally:
            launched.send_signal(signal.SIGINT)


def measure(kind: str, *, seconds: float, trials: int) -> list[Answers]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd-sweeps-bench-")))
        server = stack.enter_context(running_server()) if kind == "postgres" else None
        url = server.new_database() if server is not None else f"sqlite:///{folder}/service.db"
        reported_sweeps.worked(url)
        study = write_large(url, trials)
        stack.enter_context(at_work(url, folder))
        service = stack.enter_context(serving_program(url, folder=folder, tokens=TOKENS))
        pool = stack.enter_context(ProcessPoolExecutor(16, multiprocessing.get_context("spawn")))
        run = Run("Postgres" if server else "SQLite", service.port, seconds, pool)
        while "tasks" not in running_log(service.port):
            time.sleep(0.5)  # until the first worker is at its first task
        while ask(service.port, REPORT.format(RUNNING))[0] == 409:
            time.sleep(0.5)  # until one has finished: before that there is nothing to report
        probes = (("/readyz", "/healthz"), 2, 0.1)
        run.load(f"{VIEWERS} viewers, {FOLLOWERS} followers", probes, (PAGES, VIEWERS, 0.0), followers=FOLLOWERS)
        parts = 4
        run.load(f"{ASKERS} ask for status", probes, *[(STATUS, ASKERS // parts, 0.0)] * parts)
        large = f"/api/studies/{study}"
        run.load(f"a study of {trials:,} trials", probes, ((large,), WATCHERS, 0.0), (STATUS, WATCHERS, 0.1))
        if server is not None:
            api = [f"{STATUS[0]}{part}" for part in ("", "/best", "/trials", "/workers", "/findings", "/report")]
            run.freeze(server, ["/readyz", "/metrics", "/api/v1/sweeps", *api, *PAGES, "/api/studies", large])
        return run.answers


def verdicts(answers: list[Answers]) -> tuple[bool, str]:
    ready = max(row.slowest for row in answers if row.route == "/readyz" and "frozen" not in row.load)
    status = max(row.p99 for row in answers if row.route in STATUS and row.load.startswith(str(ASKERS)))
    frozen = max((row.slowest for row in answers if "frozen" in row.load), default=0.0)
    unanswered = sum(sum(row.others.values()) for row in answers)
    met = ready <= READY_S and status <= STATUS_S and frozen <= FROZEN_S and not unanswered
    lines = [f"service: readyz max {ready:.2f} s, status p99 {status:.2f} s"]
    if frozen:
        lines.insert(0, f"Postgres frozen: the slowest 503 after {frozen:.1f} s, target {FROZEN_S:g} s")
    if unanswered:
        lines.insert(0, f"{unanswered} answers were neither 200 nor 503")
    return met, "\n\n".join(lines)


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="4 s of each load instead of 15, and a smaller study")
    parser.add_argument("--only", choices=KINDS, help="one database instead of both")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its processes also end
    origin, answers = Origin(), list[Answers]()
    seconds, trials = (4.0, 2_000) if options.quick else (15.0, 10_000)
    for kind in [options.only] if options.only else KINDS:
        answers += measure(kind, seconds=seconds, trials=trials)
    met, lines = verdicts(answers)
    heads = ("database", "load", "route", "clients", "answers", "p50 s", "p99 s", "max s", "503s", "others")
    text = f"""{origin}
A finished sweep and a running one with {WORKERS} workers, whose tasks are processes of half a second each.
A service with tokens. Each kind of client is a separate process, which sends requests without a pause; probes send ten
a second.

{table(heads, [row.row() for row in answers])}

{lines}
"""
    write_section("Service under load", text, path=options.page)
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

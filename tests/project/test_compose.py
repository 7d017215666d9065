"""docker-compose.yml without a Docker engine: the file is read as compose reads it, and each service's command runs
here, with only its storage URL changed, against a real Postgres. The images themselves are not built.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from storage.db.engine import open_engine
from storage.records import queries, running
from storage.studies.names import study_name
from storage.url import resolve
from sweeps.plan.tasks import STAGES
from sweeps.query.status import stage_counts
from sweeps.service.create import create_sweep
from sweeps.spec.presets import preset
from tests.support.paths import REPOSITORY

SETTINGS = {"POSTGRES_PASSWORD": "a-pass_word", "SWEEP": "demo", "PRESET": "tiny"}
SERVICES = {"postgres", "init", "worker", "optuna-dashboard"}
OURS = SERVICES - {"postgres"}

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<text>[^}]*))?\}|(?P<bare>\w+)|(?P<other>))"
)


class ComposeError(Exception):
    """What `docker compose` would print instead of starting anything."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """A document with its variables filled in, by compose's rules for the forms that are used here: $$, ${NAME},
    $NAME, ${NAME:-default} and ${NAME:?message}. Any other form is an error.

    Source: https://docs.docker.com/reference/compose-file/interpolation/
    """

    def fill(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["name"] or match["bare"]
        if name is None:
            raise ComposeError(f"not a form that this test knows: {match.string}")
        given = variables.get(name, "")
        if match["how"] == ":?" and not given:
            raise ComposeError(f"required variable {name} is missing a value: {match['text']}")
        return given or (match["text"] if match["how"] == ":-" else "")

    if isinstance(value, str):
        return _VARIABLE.sub(fill, value)
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    return value


def services(**variables: str) -> dict[str, Any]:
    """The services as compose sees them, by name."""
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    found: dict[str, Any] = interpolate(document, variables)["services"]
    return found


def _env_example() -> dict[str, str]:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# The file.


def test_the_stack_is_postgres_init_workers_and_the_dashboard() -> None:
    assert set(services(**SETTINGS)) == SERVICES


def test_only_the_dashboard_is_published_and_only_on_this_machine() -> None:
    ports = {name: service.get("ports", []) for name, service in services(**SETTINGS).items()}
    assert ports == {"postgres": [], "init": [], "worker": [], "optuna-dashboard": ["127.0.0.1:8080:8080"]}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_lives_in_utc_and_has_thirty_seconds_to_stop(name: str) -> None:
    service = services(**SETTINGS)[name]
    assert service["environment"]["TZ"] == "UTC"
    assert service["stop_grace_period"] == "30s"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_run_one_image_on_one_storage_and_share_the_data(name: str) -> None:
    service = services(**SETTINGS)[name]
    assert (service["build"], service["image"]) == (".", "kd-sweeps")
    assert service["init"] is True  # without it, process 1 would ignore SIGTERM for the whole grace period
    assert service["environment"]["KD_SWEEPS_STORAGE"] == "postgresql://kd:a-pass_word@postgres:5432/kd"
    assert service["volumes"] == ["cache:/cache"]


def test_postgres_is_awaited_then_init_and_a_finished_worker_stays_stopped() -> None:
    stack = services(**SETTINGS)
    done = {"init": {"condition": "service_completed_successfully"}}
    assert stack["init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert stack["worker"]["depends_on"] == stack["optuna-dashboard"]["depends_on"] == done
    assert stack["init"]["restart"] == "no"
    assert stack["worker"]["restart"] == "on-failure:3"  # 0 is not started again, 1 not for ever
    assert "container_name" not in stack["worker"]  # or --scale would be refused


def test_postgres_keeps_its_data_and_its_healthcheck_asks_over_tcp() -> None:
    postgres = services(**SETTINGS)["postgres"]
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert postgres["environment"] == {"TZ": "UTC", "POSTGRES_USER": "kd", "POSTGRES_DB": "kd"} | {
        "POSTGRES_PASSWORD": SETTINGS["POSTGRES_PASSWORD"]
    }
    assert postgres["healthcheck"]["test"][1] == "pg_isready -h 127.0.0.1 -U $POSTGRES_USER -d $POSTGRES_DB"


def test_every_volume_is_declared() -> None:
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    used = {volume.partition(":")[0] for service in document["services"].values() for volume in service["volumes"]}
    assert used == set(document["volumes"])


@pytest.mark.parametrize("password", [{}, {"POSTGRES_PASSWORD": ""}], ids=["unset", "empty"])
def test_a_missing_password_is_one_clear_error(password: dict[str, str]) -> None:
    with pytest.raises(ComposeError, match=r"^required variable POSTGRES_PASSWORD is missing a value: set it in \.env"):
        services(**password)


def test_the_example_settings_explain_every_variable_and_hold_no_password() -> None:
    document = (REPOSITORY / "docker-compose.yml").read_text()
    example = _env_example()
    assert set(example) == set(re.findall(r"\$\{(\w+)", document))
    assert example["POSTGRES_PASSWORD"] == ""
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", document))
    assert {name: value for name, value in example.items() if value} == defaults
    assert not re.search(r"PASSWORD: (?!\$\{)|://[^$]*:(?!\$\{)[^$]*@", document)


def test_the_image_starts_our_command_as_a_user_without_rights() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["kd-sweeps"]' in lines
    assert lines.index("USER kd") < lines.index('ENTRYPOINT ["kd-sweeps"]')
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((REPOSITORY / name).exists() for name in copied)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$$HOME", "$HOME"),
        ("${A}-$A", "a-a"),
        ("${A:-b}${B:-b}${EMPTY:-c}", "abc"),
        ("${A:?no}", "a"),
        ("plain", "plain"),
    ],
)
def test_variables_are_filled_in_by_the_rules_of_compose(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "a", "EMPTY": ""}) == expected


def test_a_form_of_variable_that_this_test_does_not_know_is_an_error() -> None:
    with pytest.raises(ComposeError):
        interpolate("${A+b}", {"A": "a"})


# The commands.


class Stack:
    """The services as processes here: a home of their own, and nothing in common but the storage."""

    def __init__(self, url: str, folder: Path, **more: str) -> None:
        self.services = services(**SETTINGS)
        self._folder = folder
        self._changed = {"KD_SWEEPS_STORAGE": url} | more

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, in a container's bare one."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KD_SWEEPS", "OPTUNA", "KERAS"))}
        home = {
            "HOME": str(self._folder),
            "PYTHONPATH": str(REPOSITORY),
            "KD_SWEEPS_CACHE": str(self._folder / "cache"),
        }
        own: dict[str, str] = self.services[name]["environment"]
        return kept | home | own | self._changed

    @contextmanager
    def start(self, name: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """The image's entrypoint with the service's command; what still runs at the end is killed."""
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *self.services[name]["command"], *more],
            cwd=self._folder,
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, name: str) -> tuple[int, str]:
        """Exit code and output of a service that ends by itself."""
        with self.start(name) as process:
            output = process.communicate()[0]
            return process.returncode, output


@pytest.fixture
def stack(postgres_url: str, tmp_path: Path) -> Stack:
    return Stack(postgres_url, tmp_path)


def _wait(process: subprocess.Popen[str], reached: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"exit code {process.poll()}: {process.communicate()[0]}")
        time.sleep(0.1)


def test_init_creates_the_sweep_and_doing_it_again_is_harmless(stack: Stack, postgres_url: str) -> None:
    code, output = stack.run("init")
    assert code == 0, output
    again, repeated = stack.run("init")
    assert again == 0, repeated
    assert "already there, unchanged" in repeated
    engine = open_engine(resolve(postgres_url), read_only=True)
    (sweep,) = queries.list_sweeps(engine)
    engine.dispose()
    assert (sweep.name, sweep.spec["preset"]) == ("demo", "tiny")


def test_a_stopped_worker_gives_its_task_back_within_the_grace_period(stack: Stack, postgres_url: str) -> None:
    assert create_sweep(resolve(postgres_url), "demo", preset("tiny")).new
    engine = open_engine(resolve(postgres_url), read_only=True)
    sweep = queries.find_sweep(engine, "demo")
    with stack.start("worker") as worker:
        _wait(worker, lambda: bool(running.running(engine, sweep.id)))
        assert [task.key for task in running.running(engine, sweep.id)] == ["teachers#source"]
        worker.send_signal(signal.SIGTERM)  # what `docker compose stop` sends
        output, _ = worker.communicate(timeout=float(stack.services["worker"]["stop_grace_period"].rstrip("s")))
    assert worker.returncode == 143, output
    assert "teachers#source given back" in output
    assert not running.running(engine, sweep.id)
    assert stage_counts(engine, sweep.id)["teachers"].waiting == 2
    engine.dispose()


def test_the_dashboard_shows_every_study_of_the_sweep(stack: Stack, postgres_url: str) -> None:
    assert create_sweep(resolve(postgres_url), "demo", preset("tiny")).new
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with stack.start("optuna-dashboard", "--port", str(port)) as dashboard:
        studies: list[str] = []

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as response:
                    studies.extend(study["study_name"] for study in json.load(response)["study_summaries"])
            except OSError:
                return False
            return True

        _wait(dashboard, answers)
        dashboard.terminate()
        dashboard.communicate(timeout=30)
    assert sorted(studies) == sorted(study_name("demo", stage) for stage in STAGES)


@pytest.mark.slow
def test_a_worker_runs_to_the_end_and_exits_0(postgres_url: str, tmp_path: Path, shared_data: Path) -> None:
    stack = Stack(postgres_url, tmp_path, KERAS_HOME=str(shared_data / "keras"))
    code, output = stack.run("init")
    assert code == 0, output
    code, output = stack.run("worker")
    assert code == 0, output
    engine = open_engine(resolve(postgres_url), read_only=True)
    counts = stage_counts(engine, queries.find_sweep(engine, "demo").id)
    engine.dispose()
    assert {stage: count.ended for stage, count in counts.items()} == {s: c.total for s, c in counts.items()}
    assert {stage for stage, count in counts.items() if count.done < count.total} <= {"baselines"}

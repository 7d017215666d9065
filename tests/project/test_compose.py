"""docker-compose.yml without a Docker engine: the file is read as compose reads it, and each service's command runs
here, with only its storage URL changed. With an engine: tests/containers.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from storage.studies.space import study_name
from storage.url import plain
from sweeps.distill.presets import preset
from sweeps.plan.plan import make_plan
from sweeps.query.listing import open_sweep
from sweeps.query.status import stage_counts
from tests.support.containers.commands import Commands, ask, ask_json
from tests.support.pages import all_text
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports
from tests.support.sweeps.small_sweeps import created, wait_until
from tests.support.sweeps.typed_commands import KdSweeps

OPERATOR, VIEWER = "an-operator-of-sweeps", "a-viewer-of-sweeps"
REQUIRED = {"POSTGRES_PASSWORD": "a-pass_word", "OPERATOR_TOKEN": OPERATOR, "VIEWER_TOKEN": VIEWER}
SETTINGS = REQUIRED | {"SWEEP": "demo", "PRESET": "tiny"}
OURS = {"init", "worker", "service"}
BOARDS = REPOSITORY / "deploy" / "monitoring" / "grafana" / "boards"

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?P<how>:-|:\?)(?P<text>[^}]*)\}|(?P<other>))")


class ComposeError(Exception):
    """The error that `docker compose` would print."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill in a document's variables by compose's rules for $$, ${NAME:-default} and ${NAME:?message}.

    Any other form is an error.

    Source: https://docs.docker.com/reference/compose-file/interpolation/
    """

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match["name"], f"not a form that this test knows: {match.string}"
        value = variables.get(match["name"], "")
        if match["how"] == ":?" and not value:
            raise ComposeError(f"required variable {match['name']} is missing a value: {match['text']}")
        return value or match["text"]

    if isinstance(value, str):
        return _VARIABLE.sub(fill, value)
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    return value


def services(**variables: str) -> dict[str, Any]:
    """Return the services as compose sees them, by name."""
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    parsed: dict[str, Any] = interpolate(document, variables)["services"]
    return parsed


def _env_example() -> dict[str, str]:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# The file.


def test_only_the_service_and_the_board_are_published_and_only_on_this_machine() -> None:
    ports = {name: service["ports"] for name, service in services(**SETTINGS).items() if "ports" in service}
    assert ports == {"service": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}
    assert services(**SETTINGS, PORT="9090")["service"]["ports"] == ["127.0.0.1:9090:8080"]


def test_third_party_images_have_a_pinned_version() -> None:
    images = {service["image"] for name, service in services(**SETTINGS).items() if name not in OURS}
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"(prom/|grafana/)?[a-z]+:v?\d+(\.\d+)*", image), image


def test_every_container_is_unprivileged_and_has_a_read_only_disk_unless_compose_writes_a_secret_to_it() -> None:
    for name, service in services(**SETTINGS).items():
        assert service["cap_drop"] == ["ALL"], name
        assert not {"cap_add", "privileged"} & set(service), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is ("secrets" not in service), name  # a read-only one would not be created
        assert service["stop_grace_period"] == "30s", name
        in_memory = {place.split(":")[0]: place.split(":")[1] for place in service.get("tmpfs", [])}
        assert all("size=" in options for options in in_memory.values()), name
        if name in OURS:
            assert service["init"] is True  # without it, process 1 would ignore SIGTERM for the whole grace period
            assert in_memory.keys() == {"/tmp", "/home/kd"}
            assert "uid=1000,gid=1000" in in_memory["/home/kd"]
        if name == "postgres":  # otherwise it starts as root and needs the right to change its user
            assert service["user"] == "999:999"
            assert in_memory.keys() == {"/tmp", "/var/run/postgresql"}


def test_services_wait_for_postgres_and_init_and_a_finished_worker_stays_stopped() -> None:
    stack = services(**SETTINGS)
    done = {"init": {"condition": "service_completed_successfully"}}
    assert stack["init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert stack["worker"]["depends_on"] == done
    assert stack["init"]["restart"] == "no"
    assert stack["worker"]["restart"] == "on-failure:3"  # exit code 0 is not restarted, 1 not for ever
    assert "container_name" not in stack["worker"]  # or --scale would be refused


def test_only_the_service_and_prometheus_get_a_token() -> None:
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    assert document["secrets"] == {"viewer_token": {"environment": "VIEWER_TOKEN"}}
    for name, service in interpolate(document, SETTINGS)["services"].items():
        assert service.get("secrets", []) == (["viewer_token"] if name == "prometheus" else []), name
        assert (OPERATOR in str(service)) == (VIEWER in str(service)) == (name == "service"), name


def test_the_commands_that_are_shown_name_services_and_profiles_that_exist() -> None:
    stack = services(**SETTINGS)
    documents = "\n".join([all_text(), (REPOSITORY / "docker-compose.yml").read_text()])
    assert set(re.findall(r"docker compose exec (\S+)", documents)) == {"service"}
    assert set(re.findall(r"--scale (\w+)=", documents)) == {"worker"}
    assert set(re.findall(r"docker compose logs --follow (\S+)", documents)) <= set(stack)
    profiles = {profile for service in stack.values() for profile in service.get("profiles", [])}
    assert set(re.findall(r"--profile (\w+)", documents)) == profiles


def test_every_volume_is_declared() -> None:
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    services_ = document["services"].values()
    mounted = {volume.partition(":")[0] for service in services_ for volume in service.get("volumes", [])}
    folders = {name for name in mounted if name.startswith("./")}
    assert mounted - folders == set(document["volumes"])
    assert all((REPOSITORY / name).exists() for name in folders)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_or_empty_password_or_token_is_one_clear_error(name: str) -> None:
    others = {other: value for other, value in REQUIRED.items() if other != name}
    for variables in (others, others | {name: ""}):
        with pytest.raises(ComposeError, match=rf"^required variable {name} is missing a value: set it in \.env"):
            services(**variables)


def test_the_example_settings_explain_every_variable_and_hold_no_password() -> None:
    document = (REPOSITORY / "docker-compose.yml").read_text()
    example = _env_example()
    assert set(example) == set(re.findall(r"\$\{(\w+)", document))
    assert {name for name, value in example.items() if not value} == set(REQUIRED)
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", document))
    assert {name: value for name, value in example.items() if value} == defaults
    assert not re.search(r"PASSWORD: (?!\$\{)|://[^$]*:(?!\$\{)[^$]*@", document)


def test_the_image_runs_the_command_as_an_unprivileged_user() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["kd-sweeps"]' in lines
    assert lines.index("USER 1000:1000") < lines.index('ENTRYPOINT ["kd-sweeps"]')
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((REPOSITORY / name).exists() for name in copied)


# Monitoring.


LATER = {  # metrics that a new sweep does not have yet
    "kd_sweeps_best_score",
    "kd_sweeps_task_seconds_bucket",
    "kd_sweeps_task_seconds_count",
    "kd_sweeps_task_seconds_sum",
}


def metrics_of_the_boards() -> set[str]:
    """Return the metrics in the dashboards' queries."""
    texts = [board.read_text() for board in BOARDS.glob("*.json")]
    return {name for text in texts for name in re.findall(r"\bkd_sweeps_\w+", text)}


def test_prometheus_reads_the_service_with_a_viewer_token() -> None:
    (job,) = yaml.safe_load((REPOSITORY / "deploy/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["service:8080"]}]
    assert job["authorization"] == {"credentials_file": "/run/secrets/viewer_token"}
    assert job["metrics_path"] == "/metrics"


def test_grafana_finds_its_data_source_and_dashboard_where_they_are_mounted() -> None:
    grafana = services(**SETTINGS)["grafana"]
    folder = REPOSITORY / "deploy" / "monitoring" / "grafana"
    assert grafana["volumes"] == [
        "./deploy/monitoring/grafana/provisioning:/etc/grafana/provisioning:ro",
        "./deploy/monitoring/grafana/boards:/etc/grafana/boards:ro",
    ]
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/boards.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/boards"
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path("/etc/grafana/boards")
    assert (BOARDS / home.name).is_file()


def test_every_panel_queries_a_metric_of_the_service() -> None:
    board = json.loads((BOARDS / "kd-sweeps.json").read_text())
    panels = board["panels"]
    assert len(panels) >= 6
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}, panel["title"]
        for target in panel["targets"]:
            assert "kd_sweeps_" in target["expr"], panel["title"]
            assert 'sweep=~"$sweep"' in target["expr"], panel["title"]


# The commands.


class Stack:
    """The services as local processes on one storage."""

    def __init__(self, url: str, folder: Path, **more: str) -> None:
        self.services = services(**SETTINGS)
        self._commands = Commands(folder, KD_SWEEPS_STORAGE=url, **more)

    def start(self, name: str, *more: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start the image's entrypoint with the command of a service."""
        service = self.services[name]
        return self._commands.start(["kd-sweeps", *service["command"], *more], service["environment"])

    def run(self, name: str) -> tuple[int, str]:
        """Run a service to its end; return exit code and output."""
        service = self.services[name]
        return self._commands.run(["kd-sweeps", *service["command"]], service["environment"])


def test_init_and_worker_run_valid_commands_for_the_named_sweep(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tested elsewhere: a repeated init in tests/unit/sweeps/cli, a stopped worker in tests/processes."""
    monkeypatch.setenv("KD_SWEEPS_STORAGE", f"sqlite:///{tmp_path}/a.db")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    init, worker = (services(**SETTINGS)[name]["command"] for name in ("init", "worker"))
    code, out, _ = kd_sweeps(*init, "--dry-run")
    assert (code, "8 trials" in out) == (0, True)
    created(f"sqlite:///{tmp_path}/a.db")
    code, _, err = kd_sweeps(*worker)
    assert (code, "no sweep 'demo'" in err) == (1, True), err


@pytest.mark.processes
def test_the_service_requires_a_token_and_serves_the_dashboard(tmp_path: Path) -> None:
    stack = Stack(plain(created(f"sqlite:///{tmp_path}/a.db", preset("tiny"), name="demo")), tmp_path)
    (port,) = free_ports()
    url = f"http://127.0.0.1:{port}"
    with stack.start("service", "--port", str(port)) as service:
        wait_until(lambda: ask(f"{url}/readyz")[0] == 200 or service.poll() is not None, "it is not ready", 120)
        assert ask(f"{url}/api/v1/sweeps/demo")[0] == 401
        assert ask_json(f"{url}/api/v1/sweeps/demo", VIEWER)["sweep"] == "demo"
        assert ask(f"{url}/api/v1/sweeps/demo/pause", VIEWER, method="POST")[0] == 403
        assert ask(f"{url}/api/v1/sweeps/demo/pause", OPERATOR, method="POST")[0] == 200
        assert ask(f"{url}/dashboard/", VIEWER)[0] == 200
        studies = ask_json(f"{url}/api/studies", VIEWER)["study_summaries"]
        metrics = ask(f"{url}/metrics", VIEWER)[1]
    stages = make_plan(preset("tiny")).stages
    assert sorted(study["study_name"] for study in studies) == sorted(study_name("demo", stage) for stage in stages)
    assert metrics_of_the_boards() <= {line.split("{")[0].split(" ")[0] for line in metrics.splitlines()} | LATER


@pytest.mark.slow
def test_a_worker_runs_to_the_end_and_exits_0(postgres_url: str, tmp_path: Path, shared_data: Path) -> None:
    stack = Stack(postgres_url, tmp_path, KERAS_HOME=str(shared_data / "keras"))
    for name in ("init", "worker"):
        code, output = stack.run(name)
        assert code == 0, output
    with open_sweep(postgres_url, "demo") as (engine, sweep):
        counts = stage_counts(engine, sweep.id)
    assert {stage: count.ended for stage, count in counts.items()} == {s: c.total for s, c in counts.items()}
    assert {stage for stage, count in counts.items() if count.done < count.total} <= {"baselines"}

"""The image and the stack in a real Docker engine: from nothing to an answer over HTTP.

To run them: make test-containers. DOCKER_HOST may name an engine on this machine; where none runs, root starts one for
the tests. Where no image hub answers, stand-ins made from Debian's packages replace the images of others.
"""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.containers.commands import ask, ask_json
from tests.support.containers.engine import Docker, Failed, NoEngine, engine
from tests.support.containers.stack import COMPOSE_FILE, SCRATCH, Stack, stack
from tests.support.containers.stand_ins import base_images
from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.containers]

IMAGE = "kd-sweeps-under-test"
MOST_BYTES = 2.7e9  # of the image; TensorFlow alone is 1.5e9
OPERATOR, VIEWER = "an-operator-of-sweeps", "a-viewer-of-sweeps"
SETTINGS = {
    "POSTGRES_PASSWORD": "a-pass_word",
    "OPERATOR_TOKEN": OPERATOR,
    "VIEWER_TOKEN": VIEWER,
    "SWEEP": "demo",
    "PRESET": "tiny",
}
BUILD_S, UP_S, ANSWER_S = 1800, 300, 900
wait = partial(wait_until, every_s=0.5)
# Rights of our containers in deploy/kubernetes/base.
RESTRICTED = [
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *(word for folder in SCRATCH for word in ("--tmpfs", folder)),
]


def _say(capfd: pytest.CaptureFixture[str], text: str) -> None:
    """Print a line at once, even when pytest captures: these tests take minutes."""
    with capfd.disabled():
        print(f"\n  {text}", end="", flush=True)


@pytest.fixture(scope="module")
def docker(request: pytest.FixtureRequest) -> Iterator[Docker]:
    """Yield an engine with the third-party images that our files name, or stand-ins for them."""
    (python,) = [line.split()[1] for line in _lines("Dockerfile") if line.startswith("FROM")]
    images = [_services()[name]["image"] for name in ("postgres", "prometheus")]
    try:
        with engine() as docker, base_images(docker, python, *images) as stand_ins:
            # The classic builder takes images that no hub has; on Debian it is the only builder.
            classic = stand_ins or docker.call("buildx", "version").returncode != 0
            yield Docker({**docker.environment, "DOCKER_BUILDKIT": "0"}) if classic else docker
    except NoEngine as error:
        # Fail when these tests were requested by their mark; skip when all slow tests were.
        (pytest.fail if "containers" in request.config.option.markexpr else pytest.skip)(str(error))


def _services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    return services


def _lines(name: str) -> list[str]:
    return (REPOSITORY / name).read_text().splitlines()


@pytest.fixture(scope="module")
def image(docker: Docker) -> Iterator[str]:
    """Yield the image of this checkout."""
    docker.run("build", "--tag", IMAGE, ".", cwd=REPOSITORY, timeout_s=BUILD_S)
    yield IMAGE
    docker.call("image", "rm", "--force", IMAGE)


@pytest.fixture
def up(docker: Docker, image: str, tmp_path: Path) -> Iterator[Stack]:
    """Yield the stack with two workers and a created sweep."""
    with stack(docker, image, tmp_path, **SETTINGS) as compose:
        try:
            compose.run("up", "--detach", "--no-build", "--scale", "worker=2", timeout_s=UP_S)
            yield compose
        except (Failed, AssertionError):
            print(compose.logs())
            raise


def test_the_image_has_one_unprivileged_user_and_is_not_large(
    docker: Docker, image: str, capfd: pytest.CaptureFixture[str]
) -> None:
    details = docker.inspect(image)
    _say(capfd, f"image: {details['Size'] / 1e9:.2f} GB")
    assert details["Config"]["User"] == "1000:1000"
    assert details["Size"] < MOST_BYTES
    completed = docker.run("run", "--rm", "--entrypoint", "id", image)
    assert completed.startswith("uid=1000(kd) gid=1000(kd)")


@pytest.mark.parametrize("how", ["as it is", "as on kubernetes"])
def test_the_image_fetches_a_dataset_from_any_reachable_source(docker: Docker, image: str, how: str) -> None:
    volume = f"{IMAGE}-cache"
    more = RESTRICTED if how == "as on kubernetes" else []
    try:
        completed = docker.call("run", "--rm", *more, "--volume", f"{volume}:/cache", image, "data", "fetch", "mnist")
        assert completed.returncode == 0, completed.stdout + completed.stderr
        listed = docker.run("run", "--rm", "--volume", f"{volume}:/cache", image, "data", "list", "-f", "json")
        (mnist,) = [row for row in json.loads(listed) if row["dataset"] == "mnist"]
        assert mnist["available"] == "yes"
        assert "/cache/" in mnist["where"]
    finally:
        docker.call("volume", "rm", "--force", volume)


def test_npm_is_in_the_image_for_networks_with_only_package_registries(docker: Docker, image: str) -> None:
    # As kd.data.registries runs it. The test above covers access to a registry.
    assert docker.run("run", "--rm", *RESTRICTED, "--entrypoint", "npm", image, "--version").strip()


def test_two_workers_give_the_answer_although_one_container_is_killed(
    up: Stack, docker: Docker, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    (init,) = up.containers("init")
    assert up.state(init)["ExitCode"] == 0
    sweep = f"{up.url}/api/v1/sweeps/demo"
    wait(lambda: ask(f"{up.url}/readyz")[0] == 200, "the service is ready", seconds=60)
    assert ask(sweep)[0] == 401

    workers = up.containers("worker")
    assert len(workers) == 2
    wait(lambda: _done(sweep) >= 5, "five tasks done", seconds=ANSWER_S)
    doomed = wait(lambda: _at_work(sweep, docker, workers), "a worker has a task", seconds=120, every_s=0.1)[0]
    (other,) = [worker for worker in workers if worker != doomed]
    docker.run("kill", "--signal", "KILL", doomed)
    _say(capfd, f"{time.monotonic() - began:.0f} s: {_done(sweep)} tasks done, a worker's container killed")

    wait(lambda: not up.state(other)["Running"], "the other worker ends", seconds=ANSWER_S)
    assert up.state(other)["ExitCode"] == 0
    assert up.state(doomed)["ExitCode"] == 137

    answer = ask_json(f"{sweep}/best", VIEWER)
    _say(capfd, f"{time.monotonic() - began:.0f} s: best over HTTP: {answer['point']}")
    point = answer["point"]
    assert point["temperature"] > 0
    assert 0 <= point["alpha"] <= 1
    assert answer["confirmed"] is True
    audit = up.run("exec", "--no-TTY", "service", "kd-sweeps", "status", "demo", "--audit")
    (verdict,) = [line for line in audit.splitlines() if "violations" in line]
    _say(capfd, verdict.strip())
    assert "0 violations" in verdict
    assert ask_json(f"{sweep}/workers", VIEWER)["total"] == 2
    assert answer["summary"], "a finished sweep must have a verdict"
    _say(capfd, str(answer["summary"]))


def test_prometheus_reads_the_service_with_its_token_and_answers_every_query_of_the_dashboard(
    docker: Docker, image: str, tmp_path: Path
) -> None:
    with stack(docker, image, tmp_path, **SETTINGS) as compose:
        compose.run("--profile", "monitoring", "up", "--detach", "--no-build", "init", "prometheus", timeout_s=UP_S)
        endpoint = "http://prometheus:9090/api/v1/query"

        def results(query: str) -> list[dict[str, Any]]:
            answer = json.loads(_ask_inside(compose, f"{endpoint}?{urlencode({'query': query})}"))
            assert answer["status"] == "success", query
            rows: list[dict[str, Any]] = answer["data"]["result"]
            return rows

        wait(lambda: [row for row in results("up") if row["value"][1] == "1"], "it reads the service", seconds=120)
        tasks = wait(lambda: results('kd_sweeps_tasks{state="waiting"}'), "there are tasks", seconds=120)
        assert {row["metric"]["sweep"] for row in tasks} == {"demo"}
        board = json.loads((REPOSITORY / "deploy/monitoring/grafana/boards/kd-sweeps.json").read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                results(target["expr"].replace("$sweep", "demo"))


def test_grafana_has_the_board(docker: Docker, image: str, tmp_path: Path) -> None:
    grafana = _services()["grafana"]["image"]
    if not docker.has(grafana) and docker.call("pull", "--quiet", grafana).returncode != 0:
        pytest.skip(f"no image hub has {grafana} for this machine, and Debian has no Grafana for a stand-in")
    with stack(docker, image, tmp_path, **SETTINGS) as compose:
        compose.run("--profile", "monitoring", "up", "--detach", "--no-build", timeout_s=UP_S)
        board = "http://grafana:3000/api/dashboards/uid/kd-sweeps"
        answer = wait(lambda: _ask_inside(compose, board, check=False), "Grafana answers", seconds=120)
        assert json.loads(answer)["dashboard"]["title"] == "kd-sweeps"


def _ask_inside(compose: Stack, url: str, *, check: bool = True) -> str:
    """Return the answer of an unpublished service; check: it must answer."""
    program = f"import urllib.request as web; print(web.urlopen({url!r}, timeout=10).read().decode())"
    result = compose.call("exec", "--no-TTY", "service", "python", "-c", program)
    assert not check or result.returncode == 0, result.stderr
    return result.stdout


def _done(sweep: str) -> int:
    counts: dict[str, dict[str, int]] = ask_json(sweep, VIEWER)["stages"]
    return sum(count["done"] for count in counts.values())


def _at_work(sweep: str, docker: Docker, containers: list[str]) -> list[str]:
    """Return the containers whose worker has a task."""
    rows: list[dict[str, Any]] = ask_json(f"{sweep}/workers", VIEWER)["items"]
    busy = {row["host"] for row in rows if row["task"]}
    return [container for container in containers if docker.inspect(container)["Config"]["Hostname"] in busy]

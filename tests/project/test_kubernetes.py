"""deploy/kubernetes without a cluster: validated strictly against the schemas of Kubernetes, and the command lines of
the containers run here, with only the storage URL changed.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from storage.db.engine import open_engine
from storage.records import queries
from storage.url import resolve
from tests.project.test_compose import SETTINGS, services
from tests.support.containers.commands import Commands
from tests.support.containers.manifests import Manifest, command_line, containers, environment, one_of, pods, render
from tests.support.paths import REPOSITORY
from tests.support.sweeps.typed_commands import KdSweeps

FOLDER = REPOSITORY / "deploy" / "kubernetes"
PAGE = REPOSITORY / "docs" / "how-to" / "kubernetes.md"
OLDEST = "1.33"  # the first in which backoffLimitPerIndex is stable
OPERATOR = "an-operator-of-sweeps"
ENTRYPOINT = ["kd-sweeps"]  # of the image
OURS = {
    "Job/kd-sweeps-init/init",
    "Job/kd-sweeps-workers/wait",
    "Job/kd-sweeps-workers/worker",
    "Deployment/kd-sweeps/service",
}


@pytest.fixture
def tried(tmp_path: Path) -> Path:
    """Return the manifests with a user's additions: secret.env from its example, and the overlay of the page."""
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secret.env", "mine"))
    example = (folder / "try" / "secret.env.example").read_text()
    secret = example.replace("PASSWORD", "a-pass_word").replace(" TOKEN", f" {OPERATOR}")
    (folder / "try" / "secret.env").write_text(secret)
    (overlay,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    (folder / "mine").mkdir()
    (folder / "mine" / "kustomization.yaml").write_text(overlay)
    return folder


@pytest.fixture
def manifests(tried: Path) -> list[Manifest]:
    return render(tried / "try")


# The manifests.


def test_every_manifest_is_valid_strictly_and_offline(manifests: list[Manifest]) -> None:
    import kubernetes_validate

    for version in (OLDEST, kubernetes_validate.latest_version()):
        for manifest in manifests:
            kubernetes_validate.validate(manifest, version, strict=True)
    one_of(manifests, "Job", "kd-sweeps-workers")["spec"]["backoffLimitPerIndices"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one_of(manifests, "Job", "kd-sweeps-workers"), OLDEST, strict=True)


def test_the_overlay_of_the_page_names_image_sweep_and_number_of_workers(tried: Path) -> None:
    rendered = render(tried / "mine")
    assert {container["image"] for _, container in containers(rendered)} == {"your.registry/kd-sweeps:1"}
    assert one_of(rendered, "ConfigMap", "kd-sweeps")["data"] == {"SWEEP": "mnist-kd", "PRESET": "full"}
    job = one_of(rendered, "Job", "kd-sweeps-workers")["spec"]
    assert (job["completions"], job["parallelism"]) == (64, 64)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on the PATH")
@pytest.mark.parametrize("overlay", ["base", "try", "mine"])
def test_kubectl_renders_the_same(tried: Path, overlay: str) -> None:
    result = subprocess.run(["kubectl", "kustomize", tried / overlay], capture_output=True, text=True, check=True)
    assert result.stderr == ""

    def ordered(rendered: list[Manifest]) -> list[Manifest]:
        return sorted(rendered, key=lambda item: (item["kind"], item["metadata"]["name"]))

    assert ordered(list(yaml.safe_load_all(result.stdout))) == ordered(render(tried / overlay))


def test_the_secrets_of_the_base_are_those_that_its_header_creates() -> None:
    rendered = render(FOLDER / "base")
    text = str(rendered)
    assert not {"Secret", "PersistentVolumeClaim", "StatefulSet"} & {item["kind"] for item in rendered}
    assert set(re.findall(r"'claimName': '([^']+)'", text)) == {"kd-sweeps-cache"}
    references = [
        tuple(variable["valueFrom"]["secretKeyRef"].values())
        for _, container in containers(rendered)
        for variable in container["env"]
    ]
    assert set(references) == {("kd-sweeps", "storage"), ("kd-sweeps", "tokens")}
    head = (FOLDER / "base" / "kustomization.yaml").read_text().partition("apiVersion")[0]
    for name in ("Secret kd-sweeps:", "storage", "tokens", "kd-sweeps-cache"):
        assert name in head


def test_no_secret_is_in_a_file_of_the_repository() -> None:
    listing = subprocess.run(["git", "ls-files", FOLDER], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not [name for name in listing.stdout.splitlines() if name.endswith("secret.env")]
    assert "secret.env" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_every_container_is_unprivileged_with_a_read_only_disk_and_limits(manifests: list[Manifest]) -> None:
    for owner, pod in pods(manifests).items():
        assert pod["automountServiceAccountToken"] is False, owner
        assert pod["enableServiceLinks"] is False, owner  # they would set KD_SWEEPS_PORT=tcp://...
        assert pod["securityContext"]["runAsNonRoot"] is True, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
    for name, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert "memory" in container["resources"]["limits"], name
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name


def test_the_projects_containers_run_one_image_as_its_user_with_its_writable_folders(manifests: list[Manifest]) -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text().splitlines()
    assert "USER 1000:1000" in dockerfile
    assert "WORKDIR /home/kd" in dockerfile
    rendered = {name: container for name, container in containers(manifests) if container["image"] == "kd-sweeps"}
    assert set(rendered) == OURS
    for name, container in rendered.items():
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted >= {"/tmp", "/home/kd"}, name
        assert ("/cache" in mounted) == ("service" not in name), name
    for owner, pod in pods(manifests).items():
        if "postgres" not in owner:
            assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (1000, 1000), owner
            assert pod["shareProcessNamespace"] is True, owner  # process 1 would ignore SIGTERM at first
            assert pod["terminationGracePeriodSeconds"] == 30, owner


def test_workers_are_an_indexed_job_that_distinguishes_a_stop_from_a_failure(manifests: list[Manifest]) -> None:
    job = one_of(manifests, "Job", "kd-sweeps-workers")["spec"]
    assert (job["completionMode"], job["parallelism"]) == ("Indexed", job["completions"])
    assert job["backoffLimitPerIndex"] == 3
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # required by podFailurePolicy
    rules = job["podFailurePolicy"]["rules"]
    actions = {str(rule.get("onExitCodes", {}).get("values")): rule["action"] for rule in rules}
    assert actions == {"None": "Ignore", "[143]": "Ignore", "[2]": "FailJob"}


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "kd-sweeps"), ("StatefulSet", "kd-sweeps-postgres")])
def test_a_service_leads_to_the_pods_of_its_name(manifests: list[Manifest], kind: str, name: str) -> None:
    owner, service = one_of(manifests, kind, name)["spec"], one_of(manifests, "Service", name)["spec"]
    labels = owner["template"]["metadata"]["labels"]
    assert owner["selector"]["matchLabels"] == service["selector"]
    assert service["selector"].items() <= labels.items()
    for other in manifests:
        if other["kind"] in ("Job", "Deployment", "StatefulSet") and other["spec"] != owner:
            assert not service["selector"].items() <= other["spec"]["template"]["metadata"].get("labels", {}).items()
    (port,) = service["ports"]
    ports = [port["name"] for container in owner["template"]["spec"]["containers"] for port in container["ports"]]
    assert port["targetPort"] in ports


def test_the_url_of_the_example_matches_its_postgres(manifests: list[Manifest]) -> None:
    rendered = dict(containers(manifests))
    database = environment(manifests, rendered["StatefulSet/kd-sweeps-postgres/postgres"])
    url = resolve(environment(manifests, rendered["Deployment/kd-sweeps/service"])["KD_SWEEPS_STORAGE"])
    assert (url.username, url.password) == (database["POSTGRES_USER"], database["POSTGRES_PASSWORD"])
    assert (url.host, url.port, url.database) == ("kd-sweeps-postgres", None, database["POSTGRES_DB"])


# The commands.


def words(rendered: list[Manifest], name: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line of a container and its variables."""
    container: dict[str, Any] = dict(containers(rendered))[name]
    variables = environment(rendered, container)
    return command_line(container, variables, ENTRYPOINT), variables


@pytest.mark.slow
def test_workers_wait_for_the_job_that_creates_the_sweep(
    manifests: list[Manifest], tmp_path: Path, postgres_url: str
) -> None:
    commands = Commands(tmp_path, KD_SWEEPS_STORAGE=postgres_url)
    with commands.start(*words(manifests, "Job/kd-sweeps-workers/wait")) as waiting:
        assert waiting.stdout is not None
        assert "kd-sweeps" in waiting.stdout.readline()  # the message about the wait
        code, output = commands.run(*words(manifests, "Job/kd-sweeps-init/init"))
        assert code == 0, output
        assert waiting.wait(60) == 0
    engine = open_engine(resolve(postgres_url), read_only=True)
    (sweep,) = queries.list_sweeps(engine)
    engine.dispose()
    assert (sweep.name, sweep.spec["preset"]) == ("demo", "tiny")


def test_an_unusable_url_exits_with_the_code_that_fails_the_job(
    manifests: list[Manifest], kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", "mysql://kd@kd-sweeps-postgres/kd")
    for name in ("Job/kd-sweeps-init/init", "Job/kd-sweeps-workers/worker"):
        assert kd_sweeps(*words(manifests, name)[0][1:])[0] == 2


def test_the_containers_run_what_the_services_of_compose_run(manifests: list[Manifest]) -> None:
    """What these commands do is tested in test_compose.py."""
    compose = services(**SETTINGS)
    containers = {"init": "Job/kd-sweeps-init/init", "worker": "Job/kd-sweeps-workers/worker"}
    for service, name in (containers | {"service": "Deployment/kd-sweeps/service"}).items():
        assert words(manifests, name)[0] == ["kd-sweeps", *compose[service]["command"]]
    (container,) = one_of(manifests, "Deployment", "kd-sweeps")["spec"]["template"]["spec"]["containers"]
    probes = {kind: container[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert probes == {"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/healthz"}

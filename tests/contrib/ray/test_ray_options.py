"""Arguments after -- for Ray, and what is refused before a cluster is contacted."""

import sys

import pytest

from storage.url import resolve
from sweeps.contrib.ray.driver import Cluster, parse
from sweeps.errors import MissingExtra, SpecError
from sweeps.launch import launcher
from sweeps.launch.engine import Request
from tests.support.sweeps.typed_commands import KdSweeps

POSTGRES = "postgresql://sweeper@127.0.0.1:1/db"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], Cluster("auto", 1.0, 0.0, {})),
        (["--address=10.0.0.5:6379", "--num-cpus=0.5"], Cluster("10.0.0.5:6379", 0.5)),
        (["--address", "local", "--num-gpus", "1"], Cluster("local", 1.0, 1.0)),
        (["--address=[fd00::1]:6379"], Cluster("[fd00::1]:6379")),
        (["--resources", '{"a100": 2}', "--num-gpus=0.25"], Cluster("auto", 1.0, 0.25, {"a100": 2.0})),
    ],
)
def test_options_take_a_space_or_an_equals_sign(typed: list[str], expected: Cluster) -> None:
    assert parse(typed) == expected


def test_a_worker_requests_only_the_resources_given() -> None:
    assert parse(["--num-cpus=0", "--num-gpus=2", '--resources={"big": 1}']).wanted == {"GPU": 2.0, "big": 1.0}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--cpus=1"], "got '--cpus=1' after --; --on ray takes --address=auto --num-cpus=1"),
        (["now"], "got 'now' after --"),
        (["--num-cpus"], "--num-cpus has no value"),
        (["--num-cpus=many"], "--num-cpus: got 'many'; allowed: a number for each worker"),
        (["--num-cpus=nan"], "--num-cpus: got 'nan'"),
        (["--num-cpus=-1"], "--num-cpus: got '-1'"),
        (["--num-gpus=1.5"], "--num-gpus: got '1.5'"),
        (["--address=head"], "--address: got 'head'; allowed: auto, local, or HOST:PORT"),
        (["--address=ray://head:10001"], "use a machine of the cluster"),
        (["--resources=a100"], "--resources: got 'a100'; allowed: JSON"),
        (['--resources={"a100": 0}'], "--resources: got"),
        (['--resources={"GPU": 1}'], "for processors and devices: --num-cpus and --num-gpus"),
        (["--resources=[1]"], "--resources: got"),
    ],
)
def test_an_unknown_option_or_value_is_refused_with_what_is_allowed(typed: list[str], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(typed)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_local_file_is_refused_as_storage_of_a_cluster_even_of_this_machine(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("launch", "s", "--on", "ray", "--workers", "2", "--", "--address=local")
    assert code == 1
    line = err.splitlines()[-1]
    assert "workers on other machines cannot reach sqlite:///kd-sweeps.db" in line
    assert "launch s --on ray --storage postgresql://USER@HOST/DB" in line


def test_a_cluster_needs_an_explicit_number_of_workers(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("launch", "s", "--on", "ray", "--storage", POSTGRES)
    assert (code, err.splitlines()[-1].partition("; see")[0]) == (
        2,
        "kd-sweeps: --on ray: give the number of workers, for example --workers 8",
    )


def test_without_ray_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"^--on ray needs more packages: pip install 'kd-sweeps\[ray\]'$"):
        launcher.engine_of("ray", Request(resolve(POSTGRES), "s"))

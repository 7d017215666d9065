"""One device for each worker, assigned by its environment. The tests need no GPU."""

import os
import sys
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.cli.options import devices
from sweeps.errors import SpecError
from sweeps.launch.engine import Request
from sweeps.launch.launcher import engine_of, number_of_workers, relaunch_command, script_of
from sweeps.launch.local import LocalEngine
from sweeps.workers.environment import GPU_VARIABLE, one_thread
from tests.support.launches import KEEP_ENVIRONMENT, THREADS, environment, kept_environments, launched
from tests.support.sweeps.small_sweeps import SMALL, created

UUID = "GPU-5b4c8b52-3b35-8d4a-7a35-2b7c7a0f7c11"


@pytest.fixture
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*THREADS, GPU_VARIABLE, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_each_worker_gets_its_own_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads are tested below, and for a whole launch in tests/contrib/slurm."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    engine = LocalEngine(Request(resolve(f"sqlite:///{tmp_path}/s.db"), "s", gpus=("1", UUID)))
    for worker, device in zip(engine.start([0, 1, 2], 0), ("1", UUID, "1"), strict=True):
        worker.process.wait(30)
        worker.end_children()
        variables = {f"CUDA_VISIBLE_DEVICES={device}", f"{GPU_VARIABLE}={device}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"}
        assert variables <= set(worker.log_file.read_text().splitlines())


@pytest.mark.processes
@pytest.mark.usefixtures("_no_settings")
@pytest.mark.slow
def test_without_devices_a_worker_has_one_thread_and_sees_every_device(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", SMALL)
    code, out = launched(environment(tmp_path / "home", url, KEEP_ENVIRONMENT))
    assert code == 0, out
    environments = kept_environments(tmp_path / "home")
    assert len(environments) == 2
    assert {variables[name] for variables in environments for name in THREADS} == {"1"}
    assert not [variables for variables in environments if "CUDA_VISIBLE_DEVICES" in variables]


@pytest.mark.parametrize("has_device", [True, False])
@pytest.mark.usefixtures("_no_settings")
def test_only_a_worker_without_a_device_is_limited_to_one_thread(
    has_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_device:
        monkeypatch.setenv(GPU_VARIABLE, "0")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    one_thread()
    assert (THREADS[0] in os.environ) is not has_device


def test_by_default_there_is_one_worker_for_each_device(tmp_path: Path) -> None:
    request = Request(resolve(f"sqlite:///{tmp_path}/s.db"), "s", gpus=("0", "1", "3"))
    assert number_of_workers("local", request, None) == 3


@pytest.mark.parametrize(("typed", "expected"), [("0", ("0",)), ("0, 1", ("0", "1")), (UUID, (UUID,)), (None, ())])
def test_devices_are_numbers_or_uuids(typed: str | None, expected: tuple[str, ...]) -> None:
    assert devices(typed) == expected


@pytest.mark.parametrize("typed", ["", "0,0", "0,", "all", "-1", "0;rm", "12345", "0,00", "٣", "GPU-ä"])
def test_other_devices_give_a_one_line_error(typed: str) -> None:
    with pytest.raises(SpecError, match=f"--gpus: got '{typed}'; allowed: .* for example --gpus 0,1"):
        devices(typed)


@pytest.mark.parametrize(
    ("on", "gpus", "options", "workers", "typed"),
    [
        ("local", (), (), 3, "kd-sweeps launch s"),
        ("local", ("0", "1"), (), None, "kd-sweeps launch s --gpus 0,1"),
        ("local", ("0", "1"), (), 4, "kd-sweeps launch s --gpus 0,1 --workers 4"),
        (
            "slurm",
            (),
            ("--partition=main", "--comment=a b"),
            4,
            "kd-sweeps launch s --on slurm --workers 4 -- --partition=main '--comment=a b'",
        ),
    ],
)
def test_the_command_that_resumes_a_launch_is_the_one_that_was_typed(
    on: str, gpus: tuple[str, ...], options: tuple[str, ...], workers: int | None, typed: str
) -> None:
    request = Request(resolve("postgresql://u@h/db"), "s", options, gpus)
    assert relaunch_command(on, request, workers, workers or len(gpus)) == typed


def test_a_dry_run_on_ray_is_refused_without_a_cluster() -> None:
    with pytest.raises(SpecError, match="--dry-run needs --on slurm; got --on ray"):
        script_of(Request(resolve("postgresql://u@h/db"), "s"), "ray", workers=2)


def test_on_slurm_gpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--gpus needs --on local"):
        engine_of("slurm", Request(resolve("postgresql://u@h/db"), "s", gpus=("0",)))

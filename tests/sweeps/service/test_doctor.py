"""What the doctor says of GPUs and of Slurm."""

from pathlib import Path

import pytest

from kd import devices
from storage.url import resolve
from sweeps.usecases.doctor import Check, examine


def said(name: str, tmp_path: Path) -> Check:
    """The doctor's line of that name."""
    (found,) = [one for one in examine(resolve(f"sqlite:///{tmp_path}/a.db"), None) if one.name == name]
    return found


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("threads", "text"), [(None, "1 thread"), ("1", "1 thread"), ("4", "4 threads")])
def test_without_a_gpu_it_says_how_many_threads_a_worker_has_and_asks_nobody(
    threads: str | None, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_files", list)
    monkeypatch.setattr(devices, "gpus_seen", None)  # to call it fails
    if threads is not None:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
    assert said("gpu", tmp_path) == Check("gpu", "ok", f"no GPU: each worker trains with {text}")


def test_gpus_are_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_files", lambda: [Path("/dev/nvidia0"), Path("/dev/nvidia1")])
    monkeypatch.setattr(devices, "gpus_seen", lambda: ["NVIDIA A", "NVIDIA B"])
    text = "TensorFlow sees 0 NVIDIA A, 1 NVIDIA B; a worker on each: kd-sweeps launch NAME --gpus 0,1"
    assert said("gpu", tmp_path) == Check("gpu", "ok", text)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("hidden", "cure"),
    [
        pytest.param(None, "pip install 'tensorflow[and-cuda]'", marks=pytest.mark.slow),
        ("", "CUDA_VISIBLE_DEVICES is ''"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see_is_a_warning_with_its_cure(
    hidden: str | None, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_files", lambda: [Path("/dev/nvidia0")])
    if hidden is None and any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU that TensorFlow may see")
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = said("gpu", tmp_path)  # TensorFlow itself is asked, in a process of its own
    assert found.level == "warn"
    assert "/dev/nvidia0 is here, but TensorFlow sees no GPU" in found.text
    assert cure in found.text


def test_a_tensorflow_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(devices, "gpu_files", lambda: [Path("/dev/nvidia0")])
    monkeypatch.setattr(devices, "gpus_seen", broken)
    found = said("gpu", tmp_path)
    assert (found.level, "does not start: libcudart.so.12: cannot open" in found.text) == ("warn", True)


@pytest.mark.parametrize(
    ("programs", "level", "text"),
    [
        ((), "ok", "not here, and needed for launch --on slurm alone"),
        (("sbatch", "scancel"), "warn", "squeue not found in PATH"),
        (("sbatch", "squeue", "scancel"), "ok", "are here: launch --on slurm"),
    ],
)
def test_it_says_whether_slurm_is_here(
    programs: tuple[str, ...], level: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in programs:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = said("slurm", tmp_path)
    assert (found.level, text in found.text) == (level, True), found

"""The doctor: what this machine has, and what its sweeps need."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import sqlalchemy

from storage.url import resolve
from sweeps.distill import doctor
from sweeps.distill.freeze import requirements
from sweeps.distill.presets import preset
from sweeps.spec.model import Spec, override
from sweeps.usecases.doctor import Check, examine
from sweeps.usecases.steering import cancel
from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.typed_commands import write_npz


def checked(name: str, tmp_path: Path) -> Check:
    (check,) = [check for check in examine(resolve(f"sqlite:///{tmp_path}/a.db"), None) if check.name == name]
    return check


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path))
    for name in ("TF_NUM_INTRAOP_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("threads", "text"), [(None, "1 thread"), ("4", "4 threads")])
def test_without_a_gpu_doctor_reports_the_threads_of_a_worker_without_starting_tensorflow(
    threads: str | None, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "gpu_files", list)
    monkeypatch.setattr(doctor, "run_in_subprocess", None)  # calling it would fail
    if threads is not None:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
    assert checked("gpu", tmp_path) == Check("gpu", "ok", f"no GPU: each worker trains with {text}")


def test_gpus_are_listed_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gpu_files", lambda: [Path("/dev/nvidia0"), Path("/dev/nvidia1")])
    monkeypatch.setattr(doctor, "run_in_subprocess", lambda *_, **__: ["NVIDIA A", "NVIDIA B"])
    text = "TensorFlow sees 0 NVIDIA A, 1 NVIDIA B; a worker on each: kd-sweeps launch NAME --gpus 0,1"
    assert checked("gpu", tmp_path) == Check("gpu", "ok", text)


def test_a_tensorflow_that_does_not_start_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> list[str]:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(doctor, "gpu_files", lambda: [Path("/dev/nvidia0")])
    monkeypatch.setattr(doctor, "run_in_subprocess", broken)
    check = checked("gpu", tmp_path)
    assert (check.level, "does not start: libcudart.so.12: cannot open" in check.text) == ("warn", True)


@pytest.mark.parametrize(
    ("programs", "level", "text"),
    [
        ((), "ok", "not installed; only launch --on slurm needs it"),
        (("sbatch", "scancel"), "warn", "squeue not found in PATH; launch"),
        (("sbatch", "squeue", "scancel"), "ok", "sbatch, squeue, scancel found: launch --on slurm"),
    ],
)
def test_doctor_reports_whether_slurm_is_installed(
    programs: tuple[str, ...], level: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in programs:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = checked("slurm", tmp_path)
    assert (check.level, text in check.text) == (level, True), check


@pytest.mark.parametrize("name", ["kd", "storage", "sweeps"])
def test_a_package_of_another_program_with_our_name_is_reported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, package = list(sys.path), tmp_path / "other" / name / "__init__.py"
    (tmp_path / "plain" / name).mkdir(parents=True)
    package.parent.mkdir(parents=True)
    package.touch()
    other = str(tmp_path / "other")
    line = ("warn", f"{package} has the name of a package of kd-sweeps; Python imports the first on its path")
    for before, behind, lines in (
        (str(tmp_path / "plain"), str(tmp_path), []),  # a plain folder hides nothing
        (str(tmp_path), other, [line]),
        (other, str(tmp_path), [line]),
    ):
        monkeypatch.setattr(sys, "path", [before, *path, behind])
        checks = examine(resolve(f"sqlite:///{tmp_path}/a.db"), None)
        assert [(check.level, check.text) for check in checks if check.name == "imports"] == lines


@pytest.mark.processes
@pytest.mark.parametrize("name", ["kd", "storage"])
def test_if_another_package_hides_ours_nothing_starts_and_the_last_line_names_it(name: str, tmp_path: Path) -> None:
    package = tmp_path / name / "__init__.py"
    package.parent.mkdir()
    package.touch()
    path = (str(tmp_path), str(REPOSITORY), sysconfig.get_path("purelib"))
    # -S, since an editable install would find our modules.
    process = subprocess.run(
        [sys.executable, "-S", "-P", "-m", "sweeps.cli", "doctor"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (1, "")
    last = process.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: No module named '{name}.")
    assert last.endswith(f"; another package of that name may hide ours: {package}")


ALONE = override(preset("tiny"), {"baselines.methods": []})


def _requirements(spec: Spec) -> list[tuple[str, bool]]:
    return [(need.what, need.here) for need in requirements(spec)]


def test_datasets_by_name_and_own_networks_need_nothing() -> None:
    assert _requirements(ALONE) == []


@pytest.mark.parametrize(
    ("key", "value", "name", "is_here"),
    [
        ("source.student", "my_models:build", "module my_models", False),
        ("source.teacher", "collections.abc:build", "module collections.abc", True),
        ("search.sampler", "no.such.module:make", "module no.such.module", False),
        ("target.dataset", "/no/such/mine.npz", "/no/such/mine.npz", False),
        ("target.teacher", "logits:/no/such/logits.npz", "/no/such/logits.npz", False),
    ],
)
def test_modules_and_files_of_the_user_are_listed_and_looked_for(
    key: str, value: str, name: str, is_here: bool
) -> None:
    assert _requirements(override(ALONE, {key: value})) == [(name, is_here)]


def test_a_module_of_several_roles_is_listed_once_and_an_existing_file_is_found(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    spec = override(
        ALONE,
        {"source.dataset": str(path), "source.student": "mine:build", "target.student": "mine:other"},
    )
    assert _requirements(spec) == [("module mine", False), (str(path), True)]


def test_pretrained_networks_of_methods_and_teachers_share_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("KERAS_HOME", "KD_SWEEPS_WEIGHTS", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    spec = override(
        ALONE,
        {"baselines.methods": ["autokeras", "mobilenet-tuned"], "source.teacher": "pretrained:MobileNetV2"},
    )
    assert _requirements(spec) == [("ImageNet weights of mobilenet, mobilenetv2", False)]


def test_doctor_reports_what_the_unfinished_sweeps_of_the_storage_need(
    tmp_path: Path, in_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"sqlite:///{tmp_path}/a.db"
    (tmp_path / "my_model.py").touch()
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path))
    monkeypatch.setattr("sweeps.distill.freeze.check_users_models", lambda *_, **__: None)  # nothing is built here
    with monkeypatch.context() as elsewhere:
        elsewhere.syspath_prepend(str(tmp_path))
        for name, student in (("plain", "cnn-small"), ("own", "my_model:build"), ("ended", "my_model:build")):
            url = created(text, override(SMALL, {"baselines.methods": [], "source.student": student}), name=name)
        cancel(url, "ended")
        assert _needs(url) == [("own", "ok", "needs module my_model: found")]
    assert _needs(url) == [("own", "warn", "needs module my_model on its PYTHONPATH: not found")]


def _needs(url: sqlalchemy.URL) -> list[tuple[str, str, str]]:
    checks = [check for check in examine(url, None) if check.name in ("plain", "own", "ended")]
    return [(check.name, check.level, check.text) for check in checks]

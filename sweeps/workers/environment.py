"""Threads, versions, commit, machine; imports only the standard library, for fast starts."""

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

GPU_VARIABLE = "KD_SWEEPS_GPU"  # the device assigned to a worker, in its environment

PACKAGES = ("kd-sweeps", "tensorflow", "keras", "autokeras", "optuna", "sqlalchemy", "numpy")
_OF_OTHERS = ("torch", "jax", "scikit-learn")  # for users' trainings; recorded if installed


def other_packages() -> list[str]:
    """Return the files of other packages on the path with the name of one of ours."""
    home = Path(__file__).resolve().parents[2]
    specs = [PathFinder.find_spec(name, [folder]) for name in ("kd", "storage", "sweeps") for folder in sys.path]
    # A folder without __init__.py has no origin, and yields to a package anywhere on the path.
    files = dict.fromkeys(spec.origin for spec in specs if spec is not None and spec.origin is not None)
    return [file for file in files if Path(file).resolve().parents[1] != home]


@functools.cache
def provenance() -> dict[str, object]:
    """Return versions, git commit (None outside a checkout), host and hardware of this process."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES}
        | {name: version for name in _OF_OTHERS if (version := _version(name))},
        "git_commit": _git_commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "all"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def one_thread() -> None:
    """Give TensorFlow one thread in this process; call it before TensorFlow is imported.

    Two single-threaded workers on two cores train about twice as fast as one worker with two threads: the students are
    too small to split. Variables that the user has set are kept. A worker with a device keeps its threads, which feed
    it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if GPU_VARIABLE in os.environ:
        return
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

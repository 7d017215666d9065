"""Checks of this machine: what is installed and what is missing."""

import os
import platform
import shutil
from pathlib import Path

import sqlalchemy

from storage.db.engine import most_connections, opened_engine
from storage.errors import StorageError
from storage.records import queries
from storage.tables import SweepRecord
from storage.url import masked, sqlite_path
from sweeps.errors import SpecError
from sweeps.extensions import EXTRAS, KD, attribute, how_to_install, is_installed, trainer_extra, trainer_kind
from sweeps.hints import explain
from sweeps.spec.stored import as_it_stands, trainer_of
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Check
from sweeps.workers import environment, logs

_USUAL = ("train", "report", "keras", "autokeras", "server")
"""Extras of a machine that trains and reports; the others are requested where they are needed."""


def examine(url: sqlalchemy.URL, data_dir: Path | None) -> list[Check]:
    """Run every check, in the order in which a new user would meet the problem. Writes nothing."""
    own = trainer_kind(KD).checks(data_dir) if is_installed(trainer_extra(KD)) else ()
    return [
        *_machine(),
        *(check for check in own if check.name == "gpu"),
        _slurm(),
        *_packages(),
        *(check for check in own if check.name == "tensorboard"),
        *_storage(url),
        *(check for check in own if check.name not in ("gpu", "tensorboard")),
    ]


def _machine() -> list[Check]:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    machine = environment.provenance()
    return [
        Check("python", "ok", platform.python_version()),
        Check("cores", "ok", f"{os.cpu_count()} ({machine['cpu']}): launch starts one worker per core"),
        Check("disk", "ok" if free_gb > 2 else "warn", f"{free_gb:.0f} GB free; data and storage need about 1 GB"),
        Check("logs", "ok", str(logs.log_root())),
    ]


def _slurm() -> Check:
    programs = attribute("sweeps.contrib.slurm:PROGRAMS")
    missing = [name for name in programs if shutil.which(name) is None]
    if len(missing) == len(programs):
        return Check("slurm", "ok", "not installed; only launch --on slurm needs it")
    if missing:
        return Check("slurm", "warn", f"{', '.join(missing)} not found in PATH; launch --on slurm needs it")
    return Check("slurm", "ok", f"{', '.join(programs)} found: launch --on slurm")


def _packages() -> list[Check]:
    versions = environment.provenance()["versions"]
    assert isinstance(versions, dict)
    return [
        *(Check(name, "ok", versions[name]) for name in environment.PACKAGES[1:] if versions[name]),
        *(
            Check(name, "warn", f"not installed, for {EXTRAS[name].help}; type: {how_to_install(name)}")
            for name in _USUAL
            if not is_installed(name)
        ),
        *(
            Check(
                "imports",
                "warn",
                f"{file} has the name of a package of kd-sweeps; Python imports the first on its path",
            )
            for file in environment.other_packages()
        ),
    ]


def _storage(url: sqlalchemy.URL) -> list[Check]:
    address = masked(url)
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        return [Check("storage", "ok", f"{address}: does not exist yet; `create` makes it")]
    try:
        with opened_engine(url) as engine:
            sweeps = queries.list_sweeps(engine)
            unfinished = [sweep for sweep in sweeps if queries.outlook(engine, sweep.id).unended]
            most = most_connections(engine)
    except StorageError as error:
        return [Check("storage", "fail", explain(error))]
    text = f"{address}: {number_of(len(sweeps), 'sweep')}"
    if most is not None:
        text += f"; {most} connections are enough for {most // 3} workers (up to 3 each)"
    return [Check("storage", "ok", text), *(check for sweep in unfinished for check in _needed(sweep))]


def _needed(sweep: SweepRecord) -> list[Check]:
    extra = trainer_extra(trainer_of(sweep))
    if not is_installed(extra):
        return [Check(sweep.name, "warn", f"its trainer needs more packages here; type: {how_to_install(extra)}")]
    try:
        spec = as_it_stands(sweep)
    except SpecError as error:
        return [Check(sweep.name, "warn", explain(error))]
    return [
        Check(sweep.name, "ok", f"needs {need.what}: found")
        if need.here
        else Check(sweep.name, "warn", f"needs {need.what} {need.how}: not found")
        for need in spec.kind.needs(spec)
    ]

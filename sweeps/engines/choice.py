"""Choose the engine by the name that was typed after --on."""

import os

from storage.url import masked
from sweeps.engines.local import LocalEngine
from sweeps.engines.protocol import Engine, Request
from sweeps.engines.slurm import SlurmEngine
from sweeps.errors import SpecError, SweepError
from sweeps.hints import here

ENGINES = ("local", "slurm", "ray")


def refuse(name: str, asked: Request) -> None:
    """Say what is wrong with what was asked of an engine, before anything is started or reached.

    Raises:
        SpecError: there is none of that name, or it does not take what was asked.
        SweepError: its workers would run on machines that cannot reach the storage.
    """
    if name not in ENGINES:
        raise SpecError(f"--on: got {name!r}; allowed: {', '.join(ENGINES)}")
    if name == "local":
        if asked.options:
            raise SpecError(
                f"got {' '.join(asked.options)!r} after --; workers on this machine take no options of an engine"
            )
        return
    if asked.gpus:
        raise SpecError(f"--gpus goes with --on local; {name} gives its workers their devices by its own options")
    if asked.url.get_backend_name() == "sqlite":
        raise SweepError(
            f"--on {name}: workers on other machines cannot use {masked(asked.url)}, which is a file of this one;"
            f" take a Postgres: {here().line('launch', asked.sweep, f'--on {name}', '--storage postgresql://USER@HOST/DB')}"
        )


def engine_of(name: str, asked: Request) -> Engine:
    """Return the engine of that name; the one of Ray is connected to its cluster, which takes seconds.

    Raises:
        SpecError: as `refuse`.
        SweepError: as `refuse`, or the engine cannot be used here.
    """
    refuse(name, asked)
    if name == "local":
        return LocalEngine(asked)
    if name == "slurm":
        return SlurmEngine(asked)
    from sweeps.engines.ray_workers import ray_engine

    return ray_engine(asked)


def default_workers(name: str, asked: Request) -> int:
    """Return how many workers are started if nobody says: one for each device, else one for each core.

    Raises:
        SpecError: the cores of this machine say nothing about those of the engine.
    """
    if name != "local":
        raise SpecError(f"--on {name}: say how many workers the cluster is to run, for example --workers 8")
    if asked.gpus:
        return len(asked.gpus)
    if hasattr(os, "sched_getaffinity"):  # not on macOS; a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

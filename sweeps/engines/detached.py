"""Submit workers that no launch watches, or only show what would be submitted."""

from storage.db.engine import open_engine
from storage.records import queries
from sweeps.engines.choice import engine_of, refuse
from sweeps.engines.launcher import number_of_workers
from sweeps.engines.protocol import Request
from sweeps.engines.slurm import SlurmEngine
from sweeps.errors import SpecError, SweepError
from sweeps.hints import here
from sweeps.terminal import number_of
from sweeps.workers.worker import refuse_cancelled


def script_of(asked: Request, on: str, *, workers: int | None) -> str:
    """Return the script that a launch would submit; nothing is submitted.

    Raises:
        SpecError: the engine submits no script, or does not take what was asked.
        SweepError: as `launcher.launch`.
    """
    chosen = _submitting("--dry-run", asked, on)
    return chosen.script(range(number_of_workers(on, asked, workers)), detached=True)


def submit(asked: Request, on: str, *, workers: int | None) -> list[str]:
    """Submit workers and leave them alone; return what to tell.

    Raises:
        SpecError, SweepError, storage.errors.StorageError: as `launcher.launch`.
    """
    chosen = _submitting("--detach", asked, on)
    count = number_of_workers(on, asked, workers)
    name = asked.sweep
    engine = open_engine(asked.url)
    try:
        sweep = queries.find_sweep(engine, name)
        refuse_cancelled(name, sweep.state)
        if not queries.outlook(engine, sweep.id).unended:
            raise SweepError(f"nothing of {name} is left to do; see: {here().best(name)}")
    finally:
        engine.dispose()
    array = chosen.detach(range(count))
    return [
        f"submitted as Slurm job {array}: {number_of(count, 'worker')}; no launch has to wait for them. Next:",
        f"  {here().line('status', name)}       # how far it is",
        f"  {here().line('logs', name)}         # what they log",
        f"  scancel {array}       # stop them; they give their tasks back",
    ]


def _submitting(option: str, asked: Request, on: str) -> SlurmEngine:
    refuse(on, asked)
    chosen = engine_of(on, asked) if on == "slurm" else None  # that of Ray would look for its cluster
    if not isinstance(chosen, SlurmEngine):
        raise SpecError(f"{option} goes with --on slurm; the workers of --on {on} are nothing that is submitted")
    return chosen

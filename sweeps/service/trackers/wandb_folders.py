"""Write runs as offline folders of Weights & Biases, which `wandb sync` uploads later. No network, no login."""

import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError
from sweeps.service.trackers.runs import Exported, Run

FOLDER = "wandb"
STEPS = "epoch_val_accuracy"
_LONGEST_TAG = 64  # characters that a tag may have: https://docs.wandb.ai/models/runs/tags
_QUIET = {"WANDB_ERROR_REPORTING": "false"}  # its reports of its own errors would need the network


def load() -> Any:
    """Return the library; raise SweepError where it is not installed, with what to type."""
    os.environ.update(_QUIET)
    try:
        return importlib.import_module("wandb")
    except ImportError:
        raise SweepError("--to wandb: wandb is not installed here; type: pip install wandb") from None


def write(wandb: Any, name: str, runs: Sequence[Run], folder: Path) -> Exported:
    """Write the runs as folders of the project of that name. A run whose folder is there is left as it is.

    Each is made beside the others first: an export that is killed leaves whole runs only.

    Args:
        wandb: the library.
        folder: is there; the runs are in its folder "wandb".

    Raises:
        SweepError: wandb cannot write there.
    """
    kept = folder / FOLDER
    kept.mkdir(exist_ok=True)
    new = [run for run in runs if not list(kept.glob(f"offline-run-*-{run_id(run)}"))]
    try:
        for run in new:
            with tempfile.TemporaryDirectory(prefix=".wandb-", dir=folder) as beside, _unseen_arguments():
                made = _write(wandb, name, run, Path(beside))
                os.replace(made, kept / made.name)
    except wandb.Error as error:
        raise SweepError(f"--to wandb: {folder}: {' '.join(str(error).split())}") from None
    finally:
        wandb.teardown()
    return Exported(written=len(new), there=len(runs) - len(new), see=f"wandb sync {kept}/offline-run-*")


@contextmanager
def _unseen_arguments() -> Iterator[None]:
    """Hide what was typed, since wandb writes it into every run: a storage's URL may hold a password."""
    typed = sys.argv
    sys.argv = typed[:1]
    try:
        yield
    finally:
        sys.argv = typed


def run_id(run: Run) -> str:
    """Return the id of a run: the same for the same task of the same sweep, so that nothing is uploaded twice."""
    parts = (run.tags["sweep"], run.tags["fingerprint"], run.key)
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _write(wandb: Any, name: str, run: Run, beside: Path) -> Path:
    """Write a run; return its folder."""
    settings = wandb.Settings(
        mode="offline",
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,  # of the machine that exports: nothing was trained on it
        x_disable_stats=True,
    )
    opened = wandb.init(
        project=name,
        dir=str(beside),
        id=run_id(run),
        name=run.key,
        group=run.stage,
        tags=[f"{key}:{value}"[:_LONGEST_TAG] for key, value in run.tags.items()],
        config={**run.parameters, **run.tags, "started_at": run.started_at, "finished_at": run.finished_at},
        settings=settings,
        reinit="create_new",
    )
    folder = Path(opened.dir).parent
    for step, value in enumerate(run.epochs, start=1):
        if value is not None:
            opened.log({STEPS: value}, step=step)
    opened.summary.update(dict(run.metrics))
    opened.finish()
    return folder

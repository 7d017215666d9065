"""Use sweeps from Python: `Sweep`, and four commands of the command line as functions, by name and storage URL."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.python.sweep import Sweep

__all__ = ["Sweep", "best", "create_sweep", "launch", "report"]


def create_sweep(
    name: str,
    *,
    preset: str = "quick",
    spec: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    storage: str | None = None,
    data_dir: Path | None = None,
) -> bool:
    """Create a sweep. Returns True when it is new, False when the same one was there already.

    Args:
        name: 1 to 64 letters, digits, '-' and '_'.
        preset: "tiny", "quick", "compare" or "full"; not used when spec is given.
        spec: a TOML file.
        changes: dotted keys of the spec to change, for example {"search.trials": 100}.
        storage: URL of the storage.
        data_dir: folder with mnist.npz and other files, see `kd.data.sources`.

    Raises:
        sweeps.errors.SpecError: something in the spec cannot be used, or the name has another spec.
        storage.errors.StorageError: the storage cannot be written.
    """
    from storage.url import resolve
    from sweeps.service import create
    from sweeps.spec import presets
    from sweeps.spec.model import override
    from sweeps.spec.toml import read

    asked = override(presets.preset(preset) if spec is None else read(spec), changes or {})
    return create.create_sweep(resolve(storage), name, asked, data_dir=data_dir).new


def launch(name: str, *, workers: int | None = None, storage: str | None = None) -> int:
    """Work on a sweep with local processes until it is finished. Returns the exit code of the command."""
    from storage.url import resolve
    from sweeps.service.launch import launch as start

    return start(resolve(storage), name, workers=workers)


def best(name: str, *, storage: str | None = None) -> dict[str, Any]:
    """Return the best (T, alpha) of a sweep as plain values, those of `kd-sweeps best -f json`."""
    from sweeps.query.best import best as find_best
    from sweeps.query.opening import open_sweep

    with open_sweep(storage, name) as (engine, sweep):
        return find_best(engine, sweep).as_json()


def report(name: str, *, storage: str | None = None) -> str:
    """Return the verdict and the comparison of a sweep as Markdown."""
    from sweeps.analysis.load import load
    from sweeps.query.opening import open_sweep
    from sweeps.report.page import report as write

    with open_sweep(storage, name) as (engine, sweep):
        return write(load(engine, sweep))

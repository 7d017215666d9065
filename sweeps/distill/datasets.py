"""Which datasets are on this machine; download them."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from kd.data import datasets, sources
from sweeps.hints import local


def locations(data_dir: Path | None) -> list[dict[str, Any]]:
    """Return one row per dataset that has a name."""
    return [{"dataset": name} | _row(sources.where(name, data_dir)) for name in datasets.NAMES]


def _row(location: sources.Location) -> dict[str, Any]:
    return {"available": "yes" if location.available else "no", "where": describe(location)}


def describe(location: sources.Location) -> str:
    """Return where a dataset is, or where it would come from and how large that is."""
    if location.available:
        if location.path is None:
            return f"made from {location.source}'s samples, no download"
        return f"{location.source}: {location.path} ({location.bytes / 1e6:.0f} MB)"
    ways = " or ".join(f"{way.source} ({way.bytes / 1e6:.0f} MB)" for way in location.to_fetch)
    text = f"not here; {local().line('data fetch', location.name)} takes it from {ways}"
    return f"{location.problem}; {text}" if location.problem else text


def fetch(name: str, *, data_dir: Path | None) -> Path:
    """Fetch a dataset if it is not on this machine, with a bar on stderr. Returns its file."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=None)
        return sources.fetch(
            name,
            data_dir=data_dir,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )

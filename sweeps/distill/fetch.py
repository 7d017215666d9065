"""Locate datasets; fetch the missing ones, or replace them in a spec."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from kd.data import datasets, sources
from kd.errors import DataError
from sweeps.distill import freeze, presets
from sweeps.distill.spec import KdSpec
from sweeps.hints import local
from sweeps.plan.plan import expected_core_seconds, on_two_cores
from sweeps.terminal import joined


def locations(data_dir: Path | None) -> list[dict[str, Any]]:
    by_name = {name: sources.where(name, data_dir) for name in datasets.NAMES}
    return [
        {"dataset": name, "available": "yes" if location.available else "no", "where": describe(location)}
        for name, location in by_name.items()
    ]


def describe(location: sources.Location) -> str:
    if location.available:
        if location.path is None:
            return f"made from {location.source}'s samples, no download"
        return f"{location.source}: {location.path} ({location.bytes / 1e6:.0f} MB)"
    ways = joined((f"{way.source} ({way.bytes / 1e6:.0f} MB)" for way in location.to_fetch), "or")
    text = f"not here; {local().line('data fetch', location.name)} takes it from {ways}"
    return f"{location.problem}; {text}" if location.problem else text


def fetch(name: str, *, data_dir: Path | None) -> Path:
    """Fetch a dataset if it is not on this machine, with a bar on stderr; return its file."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=None)
        update = partial(progress.update, bar)
        return sources.fetch(name, data_dir=data_dir, progress=lambda done, total: update(completed=done, total=total))


def with_data(spec: KdSpec, data_dir: Path | None, say: Callable[[str], None]) -> KdSpec:
    """Fetch the data of a spec; return it, on digits -> digits-rgb instead if MNIST and CIFAR-10 are unavailable."""
    names = [part.dataset for part in spec.parts]
    public = [name for name in names if not datasets.is_own(name)]
    missing = [location for name in public if not (location := sources.where(name, data_dir)).available]
    try:
        if not missing:
            spec = freeze.with_images(spec, data_dir)
        say(f"{_first_line(missing)}; {_expected(spec)}")
        for location in missing:
            fetch(location.name, data_dir=data_dir)
    except DataError as error:
        if spec.preset != "quick" or names != ["mnist", "cifar10"]:
            raise
        note = "MNIST and CIFAR-10 could not be downloaded, so this sweep runs digits -> digits-rgb instead"
        say(f"{note}. Why: {' '.join(str(error).split())}")
        return without_download(spec, note)
    return spec


def _expected(spec: KdSpec) -> str:
    if all(part.images for part in spec.parts):
        return f"about {on_two_cores(expected_core_seconds(spec))} on 2 cores"
    return "the duration is known once the data are here"


def _first_line(missing: list[sources.Location]) -> str:
    parts = [
        f"{location.name} ({max(way.bytes for way in location.to_fetch) / 1e6:.0f} MB at most)"
        for location in missing
        if location.to_fetch
    ]
    return f"downloading {', '.join(parts)} into the cache" if parts else "nothing to download"


def without_download(spec: KdSpec, note: str) -> KdSpec:
    tiny = presets.PRESETS["tiny"]
    update = {"source": tiny.source, "target": tiny.target, "training": tiny.training, "note": note}
    return spec.model_copy(update=update)


def fetch_missing(spec: KdSpec, data_dir: Path | None) -> None:
    # With a progress bar: a worker would fetch silently.
    for part in spec.parts:
        source = sources.where(part.dataset, data_dir)
        if not source.available and source.to_fetch:
            fetch(part.dataset, data_dir=data_dir)

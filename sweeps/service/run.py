"""`run`: create if needed, work until finished, print the report and what to type next."""

from pathlib import Path
from typing import Any

import sqlalchemy

from kd.data import sources
from kd.errors import DataError
from storage.url import masked, plain
from sweeps.analysis.load import load
from sweeps.plan.summary import describe_plan
from sweeps.plan.tasks import make_plan
from sweeps.query.opening import opened
from sweeps.report.page import report
from sweeps.report.sentences import headline
from sweeps.service import create, datasets
from sweeps.service.launch import launch
from sweeps.spec.model import Spec, check_name, override
from sweeps.spec.presets import MINUTES, WITHOUT_DOWNLOAD
from sweeps.terminal import program, say


def run_sweep(url: sqlalchemy.URL, name: str, spec: Spec, *, workers: int | None, data_dir: Path | None) -> int:
    """Everything in one. The first line says what will be downloaded, how much, and the expected minutes.

    Returns:
        The exit code of the launch.
    """
    check_name(name)
    known = create.find(url, name)
    if not known:
        spec = with_data(spec, data_dir)
        create.create_sweep(url, name, spec, data_dir=data_dir)
        say("\n".join(describe_plan(spec, make_plan(spec), url)))
    else:
        created = known[0].spec
        create.refuse_another(name, known, _as_created(created, spec))
        say(f"{name} exists in {masked(url)}: {created['note'] or 'going on with it'}")
    code = launch(url, name, workers=workers)
    if code in (0, 1):
        _print_report(url, name)
    return code


def _as_created(stored: dict[str, Any], spec: Spec) -> Spec:
    """The spec as `create` froze it back then: with the content of its data, or the data it took instead."""
    if stored["note"] and (spec.source.dataset, spec.target.dataset) != _datasets(stored):
        spec = _without_download(spec, stored["note"])
    hashes = {f"{role}.content_hash": stored[role]["content_hash"] for role in spec.roles}
    return override(spec, hashes)


def _datasets(stored: dict[str, Any]) -> tuple[str, str]:
    return stored["source"]["dataset"], stored["target"]["dataset"]


def with_data(spec: Spec, data_dir: Path | None) -> Spec:
    """The spec, its data fetched; or the same on digits -> digits-rgb where the data cannot be had."""
    names = [spec.role(role).dataset for role in spec.roles]
    missing = [found for name in names if not (found := sources.where(name, data_dir)).available]
    minutes = MINUTES.get(spec.preset)
    say(_first_line(missing) + (f"; about {minutes} minutes on 2 cores" if minutes else ""))
    try:
        for found in missing:
            datasets.fetch(found.name, data_dir=data_dir)
    except DataError as error:
        if spec.preset != "quick" or names != ["mnist", "cifar10"]:
            raise
        note = "MNIST and CIFAR-10 could not be had on this machine, so this sweep runs digits -> digits-rgb instead"
        say(f"{note}. Why: {' '.join(str(error).split())}")
        return _without_download(spec, note)
    return spec


def _first_line(missing: list[sources.Location]) -> str:
    if not missing:
        return "nothing to download"
    parts = [
        f"{found.name} ({max(way.bytes for way in found.to_fetch) / 1e6:.0f} MB at most)"
        for found in missing
        if found.to_fetch
    ]
    return f"downloading {', '.join(parts)} into the cache" if parts else "nothing to download"


def _without_download(spec: Spec, note: str) -> Spec:
    return spec.model_copy(update={**WITHOUT_DOWNLOAD, "note": note})


def _print_report(url: sqlalchemy.URL, name: str) -> None:
    from sweeps.report.folder import write  # scipy and matplotlib take a second

    with opened(plain(url), name) as (engine, sweep):
        findings = load(engine, sweep)
    print(report(findings))
    page = write(findings, Path(f"{name}-report"))
    say("\nNext:")
    for command, why in (
        (f"best {name}", "T, alpha and how sure they are"),
        (f"trials {name} -f csv", "every run, for your own analysis"),
        (f"dashboard {name}", "optuna-dashboard on the same storage"),
        ("spec full > my.toml", "a bigger sweep: edit, then create NAME my.toml"),
    ):
        say(f"{program()} {command:<22} # {why}")
    say(f"\n{headline(findings)}\n\nThe whole page, with figures: {page}")

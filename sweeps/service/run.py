"""Run a sweep: create it if needed, work until it is finished, print the report and what to type next."""

from pathlib import Path
from typing import Any

import sqlalchemy

from kd.data import sources
from kd.data.datasets import is_own
from kd.errors import DataError
from storage.url import masked
from sweeps.analysis.load import load
from sweeps.hints import here
from sweeps.query.opening import open_sweep
from sweeps.report.answer import headline
from sweeps.report.brief import brief
from sweeps.report.page import report
from sweeps.service import create, datasets
from sweeps.service.launch import launch
from sweeps.service.own_data import with_images
from sweeps.service.summary import describe_details, describe_plan, on_two_cores
from sweeps.spec.model import ROLES, Spec, check_name
from sweeps.spec.presets import WITHOUT_DOWNLOAD
from sweeps.terminal import columns, say


def run_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, workers: int | None, data_dir: Path | None, verbose: bool = False
) -> int:
    """Create a sweep if needed, work on it, print its report. Returns the exit code of the launch.

    The first line says what will be downloaded, how much, and the expected minutes.

    Args:
        verbose: say every setting and task of a new sweep.
    """
    check_name(name)
    known = create.find(url, name)
    if not known:
        created = create.create_sweep(url, name, with_data(spec, data_dir), data_dir=data_dir)
        details = describe_details(created.spec, created.plan) if verbose else []
        say("\n".join([*describe_plan(created.spec, created.plan, url, created.found), *details]))
    else:
        first, spec = known[0].spec, create.by_its_rule(known, spec)
        if spec.fingerprint not in {revision.fingerprint for revision in known}:
            create.refuse_another(name, known, create.resolve(_with_note(first, spec), data_dir=data_dir))
        say(f"{name} exists in {masked(url)}: {first['note'] or 'going on with it'}")
    code = launch(url, name, workers=workers)
    if code in (0, 1):
        _print_report(url, name)
    return code


def _with_note(stored: dict[str, Any], spec: Spec) -> Spec:
    """Return the spec, or the one that a sweep was created with when its datasets could not be had."""
    fell_back = stored["note"] and [spec.role(role).dataset for role in spec.roles] != _datasets(stored)
    return _without_download(spec, stored["note"]) if fell_back else spec


def _datasets(stored: dict[str, Any]) -> list[str]:
    return [stored[role]["dataset"] for role in ROLES if stored.get(role)]


def with_data(spec: Spec, data_dir: Path | None) -> Spec:
    """Fetch the data of a spec. Returns the spec, or the same on digits -> digits-rgb where the data is unavailable."""
    names = [spec.role(role).dataset for role in spec.roles]
    public = [name for name in names if not is_own(name)]
    missing = [found for name in public if not (found := sources.where(name, data_dir)).available]
    try:
        if not missing:
            spec = with_images(spec, data_dir)
        say(f"{_first_line(missing)}; {_expected(spec)}")
        for found in missing:
            datasets.fetch(found.name, data_dir=data_dir)
    except DataError as error:
        if spec.preset != "quick" or names != ["mnist", "cifar10"]:
            raise
        note = "MNIST and CIFAR-10 could not be downloaded, so this sweep runs digits -> digits-rgb instead"
        say(f"{note}. Why: {' '.join(str(error).split())}")
        return _without_download(spec, note)
    return spec


def _expected(spec: Spec) -> str:
    known = all(spec.role(role).images for role in spec.roles)
    return f"about {on_two_cores(spec)} on 2 cores" if known else "how long it takes is known when the data are here"


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

    with open_sweep(url, name) as (engine, sweep):
        findings = load(engine, sweep)
    page = write(findings, Path(f"{name}-report"))
    wide = columns()
    if wide is None:
        print(report(findings))
    say("\nNext:")
    commands = {
        here().best(name): "T, alpha and how sure they are",
        here().line("trials", name, "-f csv"): "every run, for your own analysis",
        here().line("dashboard", name): "the sweep as a page, and optuna-dashboard",
        here().spec("full > my.toml"): "a bigger sweep: edit, then create NAME my.toml",
    }
    width = max(map(len, commands))
    for command, why in commands.items():
        say(f"{command:<{width}} # {why}")
    if wide is not None:
        print(f"\n{brief(findings, columns=wide, page=str(page))}")
    else:
        say(f"\n{headline(findings)}\n\nThe whole page, with figures: {page}")

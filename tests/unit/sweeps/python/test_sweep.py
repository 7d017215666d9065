"""`Sweep`: creating, reading and steering a sweep; its errors are those of the command line."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sweeps
from storage.errors import NotAStorage, StorageError, SweepNotFound
from storage.url import resolve
from sweeps import Sweep
from sweeps.cli.options import spec_request
from sweeps.errors import AnotherSpec, MissingExtra, NoResultsYet, SpecError
from sweeps.report import answer
from tests.support.paths import REPOSITORY
from tests.support.sweeps.answered_sweeps import accuracies, answered
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import files, write_npz

KdSweeps = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with the finished sweep "s"."""
    with trials_in_memory():
        return str(answered(tmp_path_factory.mktemp("finished"), accuracies()))


@pytest.fixture
def finished(url: str) -> Sweep:
    return Sweep.open("s", storage=url)


def test_importing_sweeps_imports_nothing_heavy() -> None:
    heavy = {
        "tensorflow",
        "keras",
        "optuna",
        "scipy",
        "sqlalchemy",
        "numpy",
        "pandas",
        "rich",
        "pydantic",
        "matplotlib",
    }
    code = "import sys, sweeps, sweeps.python.sweep; sweeps.Sweep; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy & {name.partition(".")[0] for name in process.stdout.split()} == set()
    assert sweeps.python.sweep.Sweep is sweeps.Sweep


def test_create_takes_the_options_of_the_command_line() -> None:
    renamed = {"target": "target", "change": "changes"}
    typed = {renamed.get(option, option) for option in inspect.signature(spec_request).parameters}
    assert typed <= set(inspect.signature(Sweep.create).parameters)


def test_create_makes_the_sweep_of_the_command_line_once(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    url, changes = f"sqlite:///{tmp_path}/my.db", {"search.trials": np.int64(5), "baselines.methods": []}
    for _ in range(2):
        sweep = Sweep.create("a", dataset="digits", preset="tiny", changes=changes, seed=3, epochs=2, storage=url)
    assert repr(sweep) == f"Sweep.open('a', storage={url!r})"
    assert sweep.status.stages["search"].total == 5
    typed = "--preset tiny --dataset digits --trials 5 --set baselines.methods=[] --seed 3 --epochs 2 --storage"
    code, _, err = kd_sweeps("create", "a", *typed.split(), url)
    assert (code, "a exists already; nothing changed" in err) == (0, True), err
    assert Sweep.create("a", storage=url).status.stages["search"].total == 5, "the name alone opens the existing sweep"
    for wrong in ({"trials": 0}, {"seed": -1}, {"epochs": 1.5}, {"size": 32}, {"size": (32, 32)}):
        with pytest.raises(SpecError, match=f"^-?-?{next(iter(wrong))}: got "):
            Sweep.create("c", preset="tiny", storage=url, **wrong)  # type: ignore[arg-type]


def test_source_and_targets_can_be_paths_or_text(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "mine.npz")
    url = f"sqlite:///{tmp_path}/a.db"
    spec = tmp_path / "my.toml"
    from sweeps.spec import stored

    spec.write_text(stored.to_toml(SMALL))
    sweep = Sweep.create("two", source=file, target=["digits"], spec=spec, changes={"source.images": 100}, storage=url)
    assert set(sweep.results["dataset"].dropna()) == {str(file), "digits"}
    assert sweep.name == "two"


def test_properties_equal_the_output_of_the_command_line(finished: Sweep, url: str, kd_sweeps: KdSweeps) -> None:
    _, out, _ = kd_sweeps("best", "s", "-f", "json", "--storage", url)
    printed = json.loads(out)
    best = finished.best
    assert (best.temperature, best.alpha) == (printed["point"]["temperature"], printed["point"]["alpha"])
    assert (best.more, best.confirmed, best.accuracy.mean) == ({}, True, printed["accuracy"]["mean"])
    assert str(best).startswith(f"T = {best.temperature:.4g}, alpha = {best.alpha:.4g}: validation ")
    _, out, _ = kd_sweeps("trials", "s", "-f", "csv", "--storage", url)
    assert list(finished.results.columns) == out.splitlines()[0].split(",")
    assert len(finished.results) == len(out.splitlines()) - 1
    findings = analysed(resolve(url))
    assert finished.headline == answer.announced(findings)
    assert str(finished.verdict) == answer.badge(findings).text
    assert finished.verdict.word in ("TRANSFERS", "UNDECIDED", "FAILS", "FLAT")
    assert finished.verdict.text.startswith(f"{finished.verdict.word}: ")


def test_without_pandas_results_are_dictionaries(finished: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pandas = finished.results
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = finished.results
    assert isinstance(rows, list)
    assert [list(row) for row in rows] == [list(with_pandas.columns)] * len(with_pandas)


def test_without_keras_run_names_the_extra(finished: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("keras", "numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"^run needs more packages: pip install 'kd-sweeps\[keras\]'$"):
        finished.run()


def test_figures_are_svg_that_a_notebook_draws_and_report_writes_a_folder(finished: Sweep, tmp_path: Path) -> None:
    figures = finished.figures
    assert {"gains", "regret"} <= set(figures)
    for figure in figures.values():
        assert "<svg" in figure
        assert figure._repr_svg_() == str(figure)
        assert len(repr(figure)) < 30, "a dictionary of figures prints short"
    assert finished.report(tmp_path / "written") == tmp_path / "written" / "report.html"
    assert {"report.html", "report.md", "results.csv", *(f"figures/{name}.svg" for name in figures)} <= files(
        tmp_path / "written"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot write a report into"):
        finished.report(tmp_path / "file")


def test_a_sweep_is_paused_resumed_extended_retried_and_cancelled(tmp_path: Path) -> None:
    sweep = Sweep.open("s", storage=str(created(f"sqlite:///{tmp_path}/a.db")))
    total = sum(count.total for count in sweep.status.stages.values())
    assert sweep.pause() == 0
    assert sweep.status.state == "paused"
    assert sweep.resume() == total
    assert sweep.extend(trials=np.int64(2)) > 0
    assert sweep.retry() == []
    assert sweep.cancel() > total
    assert sweep.status.state == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"preset": "tiny", "spec": "my.toml"}, "got preset='tiny' and spec='my.toml'; give one of them"),
        ({"preset": 3}, "preset: got 3; allowed: 'tiny', 'quick', 'compare' or 'full'"),
        ({"changes": [1]}, 'changes: got [1]; write them as {"search.trials": 20}'),
        ({"changes": {1: 2}}, 'changes: got the key 1; keys are text such as "search.trials"'),
        ({"dataset": 5}, 'dataset: got 5; allowed: text or a path, for example "digits"'),
        ({"dataset": " "}, "dataset: got ' '; allowed: text or a path"),
        ({"spec": b"x"}, "spec: got b'x'; allowed: text or a path"),
        ({"dataset": "digits", "target": "mnist"}, "--dataset is one dataset alone"),
        ({"student": "no-such"}, "source.student: got 'no-such'"),
        ({"student": lambda shape, classes: None}, "student: got a lambda, which has no name to import it by"),
        ({"changes": {"training.distillation": lambda: None}}, '"training.distillation": "./my_loss.py:loss"'),
        ({"storage": 7}, "storage: got 7; allowed: a URL"),
        ({"storage": "x.db"}, "which is not a URL; type: sqlite:///x.db"),
    ],
)
def test_bad_arguments_give_a_one_line_error_and_write_nothing(
    arguments: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SpecError, StorageError)) as error:
        Sweep.create("a", **({"storage": f"sqlite:///{tmp_path}/a.db"} | arguments))
    assert line in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert files(tmp_path) == set()


@pytest.mark.parametrize("name", ["", "a b", "-a", 5, None])
def test_a_name_that_no_sweep_can_have_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="sweep name"):
        Sweep.open(name)


@pytest.mark.parametrize("value", [-1, 0.5, "3", True, None, 100_001])
def test_bad_counts_give_a_one_line_error(value: Any, tmp_path: Path) -> None:
    sweep = Sweep.open("s", storage=str(created(f"sqlite:///{tmp_path}/a.db")))
    with pytest.raises(SpecError, match=r"^trials: got .*; allowed: a whole number from 0 to 100000, for example"):
        sweep.extend(trials=value)
    if value is not None:
        with pytest.raises(SpecError, match=r"^workers: got .*; allowed: a whole number from 1 to 1000"):
            sweep.run(workers=value if value != 100_001 else 0)


def test_errors_are_those_of_the_command_line(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    url = str(created(f"sqlite:///{tmp_path}/a.db"))
    cases: list[tuple[type[Exception], Callable[[], Any], list[str]]] = [
        (NoResultsYet, lambda: Sweep.open("s", storage=url).best, ["best", "s", "--storage", url]),
        (NoResultsYet, lambda: Sweep.open("s", storage=url).verdict, ["report", "s", "--storage", url]),
        (SweepNotFound, lambda: Sweep.open("t", storage=url), ["status", "t", "--storage", url]),
        (NotAStorage, lambda: Sweep.open("s", storage=f"{url}2"), ["status", "s", "--storage", f"{url}2"]),
        (SpecError, lambda: Sweep.open("s", storage=url).extend(), ["extend", "s", "--storage", url]),
        (
            AnotherSpec,
            lambda: Sweep.create("s", preset="tiny", storage=url),
            ["create", "s", "--preset", "tiny", "--storage", url],
        ),
    ]
    for kind, call, words in cases:
        with pytest.raises(kind) as error:
            call()
        _, _, err = kd_sweeps(*words)
        assert err.splitlines()[-1] == f"kd-sweeps: {error.value}", words

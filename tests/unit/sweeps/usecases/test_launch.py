"""Launch and run: fallback data, a second run, publishing, and continuing."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.distill.fetch import with_data
from sweeps.distill.presets import preset
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.launch import launcher
from sweeps.launch.engine import DETACHED_VARIABLE, Request
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.report.page import report
from sweeps.spec.model import override
from sweeps.terminal import say
from sweeps.usecases import run, work
from sweeps.usecases.create import SpecRequest, requested
from sweeps.usecases.run import run_sweep
from sweeps.workers import worker
from tests.support.sweeps.planted_sweeps import analysed, worked
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.typed_commands import write_npz


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of the published sweeps."""
    names: list[str] = []
    monkeypatch.setattr(run, "publish", lambda url, name: names.append(name))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    return names


@pytest.mark.parametrize(("code", "expected"), [(0, ["s"]), (1, ["s"]), (130, [])])
def test_a_launch_publishes_what_it_finished(
    code: int, expected: list[str], published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "launch", lambda *arguments, **options: code)
    assert run.launch(Request(resolve(f"sqlite:///{tmp_path}/a.db"), "s")) == code
    assert published == expected


@pytest.mark.parametrize(
    ("code", "variables", "expected"),
    [
        (0, {}, ["s"]),
        (143, {}, []),
        (0, {WORKER_VARIABLE: "host-1-ab-0"}, []),
        (0, {WORKER_VARIABLE: "slurm-12_3.0-ab12", DETACHED_VARIABLE: "yes"}, ["s"]),  # no launch waits for this worker
    ],
)
def test_a_worker_publishes_unless_a_launch_will(
    code: int,
    variables: dict[str, str],
    expected: list[str],
    published: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "run_worker", lambda *arguments, **options: code)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert work.work(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == code
    assert published == expected


@pytest.mark.parametrize("workers", [0, 1_001])
def test_a_number_of_workers_out_of_range_is_refused_from_python(workers: int, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=f"--workers: got {workers}; allowed: 1 to 1000"):
        run.launch(Request(resolve(f"sqlite:///{tmp_path}/a.db"), "s"), workers=workers)


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Simulate a machine with an empty cache, no npm and no network."""
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)
    urllib.request.install_opener(None)  # the opener keeps the proxies of its first use
    yield
    urllib.request.install_opener(None)


@pytest.mark.processes
@pytest.mark.usefixtures("no_downloads")
def test_without_any_source_quick_runs_on_digits_after_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    spec = with_data(preset("quick"), None, say)
    assert (spec.source.dataset, spec.target.dataset) == ("digits", "digits-rgb")
    assert spec.search == preset("quick").search
    lines = capsys.readouterr().err.splitlines()
    assert "mnist" in lines[0]
    assert "minutes" in lines[0]
    assert "runs digits -> digits-rgb instead" in lines[1]
    assert "digits -> digits-rgb instead" in spec.note
    with_data(spec, None, say)
    assert capsys.readouterr().err.startswith("nothing to download; about ")


@pytest.mark.processes
@pytest.mark.usefixtures("no_downloads")
def test_a_dataset_requested_by_name_is_never_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    from kd.errors import DataError

    with pytest.raises(DataError, match="cifar10"):
        with_data(override(preset("tiny"), {"target.dataset": "cifar10"}), None, say)


@pytest.mark.processes
def test_a_second_run_prints_the_report_and_trains_nothing(
    tmp_path: Path, in_memory: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/processes/test_one_headline.py checks its last lines."""
    monkeypatch.chdir(tmp_path)
    url = worked(f"sqlite:///{tmp_path}/a.db")
    run.publish(url, "s")
    before = (tmp_path / "a.db").read_bytes()
    assert run_sweep(url, "s", SMALL, workers=1, data_dir=None) == 0
    out = capsys.readouterr()
    assert out.out == f"{report(analysed(url))}\n"
    assert "kd-sweeps best s" in out.err
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_of_which_every_training_failed_fails(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "launch", lambda *arguments, **options: code)
    url = created(f"sqlite:///{tmp_path}/a.db", SMALL)
    if code:
        assert run_sweep(url, "s", SMALL, workers=1, data_dir=None) == 1
        assert capsys.readouterr().out == ""
    else:
        with pytest.raises(NoResultsYet, match="nothing of s has finished yet"):
            run_sweep(url, "s", SMALL, workers=1, data_dir=None)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> int:
    """Stop every launch at once; return the exit code of such a run."""
    monkeypatch.setattr(launcher, "launch", lambda *arguments, **options: 130)
    return 130


def test_a_sweep_that_fell_back_to_other_data_continues_with_it(tmp_path: Path, launched: int) -> None:
    fallen = override(
        preset("quick"),
        {"note": "MNIST could not be had"}
        | {role: preset("tiny").as_dict()[role] for role in ("source", "target", "training")},
    )
    url = created(f"sqlite:///{tmp_path}/a.db", fallen)
    assert run_sweep(url, "s", preset("quick"), workers=1, data_dir=None) == launched
    with pytest.raises(SpecError, match=r"search\.trials: 6 -> 21"):
        run_sweep(url, "s", override(preset("quick"), {"search.trials": 21}), workers=1, data_dir=None)


def test_a_sweep_on_a_file_continues_with_any_spelling_of_its_path(
    tmp_path: Path, launched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "mine.npz")
    spec = override(preset("tiny"), {"source.dataset": "mine.npz", "source.images": 180})
    url = created(f"sqlite:///{tmp_path}/a.db", spec)
    stored = requested(url, "s", SpecRequest())  # only the name was given
    for same in (spec, stored):
        assert run_sweep(url, "s", same, workers=1, data_dir=None) == launched
    more = override(spec, {"target2": preset("tiny").as_dict()["target"] | {"dataset": "mnist"}})
    with pytest.raises(SpecError, match=r"exists with another spec \(target2: null -> "):
        run_sweep(url, "s", more, workers=1, data_dir=None)

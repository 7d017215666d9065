"""Launch and run: the first line, the second time, what is published, and what an interruption leaves."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.records import queries
from storage.url import resolve
from sweeps.contrib.slurm import DETACHED_VARIABLE
from sweeps.distill.presets import SpecRequest, preset
from sweeps.errors import SpecError, SweepError
from sweeps.launch import launcher
from sweeps.launch.launcher import Launched
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.report.answer import headline
from sweeps.report.brief import brief
from sweeps.report.page import report
from sweeps.spec.model import override
from sweeps.usecases import run
from sweeps.usecases.create import requested
from sweeps.usecases.run import run_sweep, with_data
from sweeps.workers import worker
from tests.support.paths import REPOSITORY
from tests.support.sweeps.planted_sweeps import analysed, worked
from tests.support.sweeps.typed_commands import write_npz


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sweeps that were published."""
    names: list[str] = []
    monkeypatch.setattr(run, "publish", lambda url, name: names.append(name))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    return names


@pytest.mark.parametrize(
    ("launched", "expected"),
    [
        (Launched(0, finished=True), ["s"]),
        (Launched(1, finished=True), ["s"]),
        (Launched(1, finished=False), []),
        (Launched(130, finished=False), []),
    ],
)
def test_a_launch_publishes_what_it_finished(
    launched: Launched, expected: list[str], published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "launch", lambda *arguments, **options: launched)
    assert run.launch(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == launched.code
    assert published == expected


@pytest.mark.parametrize(("code", "name", "expected"), [(0, None, ["s"]), (143, None, []), (0, "host-1-ab-0", [])])
def test_a_worker_publishes_unless_a_launch_will(
    code: int,
    name: str | None,
    expected: list[str],
    published: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "run_worker", lambda *arguments, **options: code)
    if name is not None:
        monkeypatch.setenv(WORKER_VARIABLE, name)
    assert run.work(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == code
    assert published == expected


def test_a_worker_that_no_launch_waits_for_publishes_though_it_has_a_name(
    published: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_worker", lambda *arguments, **options: 0)
    monkeypatch.setenv(WORKER_VARIABLE, "slurm-12_3.0-ab12")
    monkeypatch.setenv(DETACHED_VARIABLE, "yes")
    assert run.work(resolve(f"sqlite:///{tmp_path}/a.db"), "s") == 0
    assert published == ["s"]


@pytest.mark.parametrize("workers", [0, -1, 1_001, 10**9])
def test_a_number_of_workers_that_no_machine_has_is_refused_from_python_too(workers: int, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=f"--workers: got {workers}; allowed: 1 to 1000"):
        run.launch(resolve(f"sqlite:///{tmp_path}/a.db"), "s", workers=workers)


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with an empty cache, no npm, and a network on which no download answers."""
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)


@pytest.mark.processes
@pytest.mark.usefixtures("no_downloads")
def test_without_any_source_quick_runs_on_digits_and_says_so_first(capsys: pytest.CaptureFixture[str]) -> None:
    spec = with_data(preset("quick"), None)
    assert (spec.source.dataset, spec.target.dataset) == ("digits", "digits-rgb")
    assert spec.search == preset("quick").search
    said = capsys.readouterr().err.splitlines()
    assert "mnist" in said[0]
    assert "minutes" in said[0]
    assert "runs digits -> digits-rgb instead" in said[1]
    assert "digits -> digits-rgb instead" in spec.note


@pytest.mark.processes
@pytest.mark.usefixtures("no_downloads")
def test_a_dataset_that_was_asked_for_by_name_is_never_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    from kd.errors import DataError

    with pytest.raises(DataError, match="cifar10"):
        with_data(override(preset("tiny"), {"target.dataset": "cifar10"}), None)


@pytest.mark.processes
def test_a_second_run_prints_the_report_and_trains_nothing(
    tmp_path: Path, in_memory: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = worked(f"sqlite:///{tmp_path}/a.db", preset("tiny"))
    assert run_sweep(url, "s", preset("tiny"), workers=1, data_dir=None) == 0  # publishes what its worker did not
    capsys.readouterr()
    before = (tmp_path / "a.db").read_bytes()
    started = time.perf_counter()
    assert run_sweep(url, "s", preset("tiny"), workers=1, data_dir=None) == 0
    assert time.perf_counter() - started < 5
    out = capsys.readouterr()
    found = analysed(url)
    assert out.out == f"{report(found)}\n"
    assert "kd-sweeps best s" in out.err
    said, page = out.err.splitlines()[-3::2]
    assert said == headline(found)
    assert page == "The whole page, with figures: s-report/report.html"
    assert (tmp_path / "s-report" / "report.html").is_file()
    monkeypatch.setattr("sweeps.usecases.run.columns", lambda: 80)
    assert run_sweep(url, "s", preset("tiny"), workers=1, data_dir=None) == 0
    short = capsys.readouterr().out
    assert short == f"\n{brief(found, columns=80, page='s-report/report.html')}\n", "a terminal gets a few lines"
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.usefixtures("in_memory")
def test_a_sweep_that_fell_back_goes_on_with_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    note = "MNIST could not be had"
    fallen = override(
        preset("quick"),
        {"note": note} | {role: preset("tiny").as_dict()[role] for role in ("source", "target", "training")},
    )
    url = worked(f"sqlite:///{tmp_path}/a.db", fallen)
    assert run_sweep(url, "s", preset("quick"), workers=1, data_dir=None) == 0
    with pytest.raises(SpecError, match=r"search\.trials: 10 -> 21"):
        run_sweep(url, "s", override(preset("quick"), {"search.trials": 21}), workers=1, data_dir=None)


@pytest.mark.processes
@pytest.mark.usefixtures("in_memory")
def test_a_sweep_on_a_file_goes_on_whatever_the_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "mine.npz")
    asked = override(preset("tiny"), {"source.dataset": "mine.npz", "source.images": 180})
    url = worked(f"sqlite:///{tmp_path}/a.db", asked)
    assert run_sweep(url, "s", asked, workers=1, data_dir=None) == 0
    stored = requested(url, "s", SpecRequest())
    assert run_sweep(url, "s", stored, workers=1, data_dir=None) == 0, "nothing but the name was given"
    more = override(asked, {"target2": preset("tiny").as_dict()["target"] | {"dataset": "mnist"}})
    with pytest.raises(SpecError, match=r"exists with another spec \(target2: null -> "):
        run_sweep(url, "s", more, workers=1, data_dir=None)


def _run_tiny(folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = os.environ | {"XDG_STATE_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "sweeps.cli", "run", "tiny", "--preset", "tiny", *more]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.processes
def test_ctrl_c_leaves_no_process_and_no_running_task(tmp_path: Path) -> None:
    process = _run_tiny(tmp_path, "--workers", "2")
    url = resolve(f"sqlite:///{tmp_path}/kd-sweeps.db")
    deadline = time.monotonic() + 90
    pids: list[int] = []
    while len(pids) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        if not (tmp_path / "kd-sweeps.db").exists() or process.poll() is not None:
            continue
        try:
            engine = open_engine(url, read_only=True)
        except Exception:  # being created
            continue
        sweeps = queries.list_sweeps(engine)
        pids = [one.pid for sweep in sweeps for one in queries.running_tasks(engine, sweep.id)]
        engine.dispose()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "nothing is lost" in err
    assert "Traceback" not in err
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    engine = open_engine(url, read_only=True)
    tasks = queries.task_records(engine, queries.find_sweep(engine, "tiny").id)
    engine.dispose()
    assert {task.state for task in tasks} <= {"waiting", "done"}


@pytest.mark.processes
@pytest.mark.slow
def test_run_tiny_from_nothing_to_the_report(tmp_path: Path) -> None:
    process = _run_tiny(tmp_path)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert err.startswith("nothing to download")
    assert "(`native`) |" in out
    again = _run_tiny(tmp_path)
    second, _ = again.communicate(timeout=60)
    assert second == out
    assert err.rstrip().endswith("tiny-report/report.html")
    shutil.rmtree(tmp_path / "kd-sweeps", ignore_errors=True)

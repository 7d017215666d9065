"""export: the file that a real sweep kept, which Keras loads with the recorded score."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import sqlalchemy

from kd import load_test
from storage.url import resolve
from sweeps.plan.jobs import AnyJob
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome, TaskRunner
from sweeps.workers.worker import Worker
from tests.support.points import at
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.in_process import jobs_in_process
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.typed_commands import KdSweeps

# Both datasets and every stage, as small as possible.
REAL = override(
    SMALL,
    {f"{role}.{key}": value for role in ("source", "target") for key, value in
     {"images": 320, "teacher": "keras-student", "teacher_epochs": 2, "epochs": 6}.items()}
    | {"search.trials": 1, "baselines.methods": [], "lease.grace_s": 60},
)  # fmt: skip
EXPORTED = ("teachers#source", "teachers#target", "transfer#source.best.0", "transfer#target.best.0")


def work(url: sqlalchemy.URL) -> None:
    """Complete the sweep "s": real training for what is exported, the rest planted."""
    with open_sweep(url, "s", write=True) as opened:
        real = TaskRunner(DatabaseBackend(*opened))

        def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
            return (real if claim.key in EXPORTED else quadratic)(claim, params, on_step)

        with jobs_in_process(), Worker(DatabaseBackend.open(url, "s"), run=run) as worker:
            assert worker.work() == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "x.db"
    work(created(f"sqlite:///{path}", REAL))
    return path


@pytest.fixture
def url(finished: Path, tmp_path: Path) -> str:
    """Return the URL of a copy of the storage to damage."""
    shutil.copy(finished, tmp_path / "x.db")
    return f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize(("role", "chosen"), [("source", []), ("target", ["--dataset", "digits-rgb"])])
def test_the_exported_student_scores_what_was_recorded(
    kd_sweeps: KdSweeps, url: str, tmp_path: Path, role: str, chosen: list[str]
) -> None:
    code, out, err = kd_sweeps("export", "s", "-o", "student.keras", *chosen, "--storage", url)
    assert (code, out) == (0, "")
    recorded = records(url)[f"transfer#{role}.best.0"].outcome or {}
    path, dataset = tmp_path / "student.keras", REAL.role(role).dataset
    assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded["blobs"]["model"]

    test = load_test(dataset)
    assert test.images.dtype == np.uint8
    model = keras.saving.load_model(path)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    (_, accuracy) = model.evaluate(test.images, test.labels, verbose=0)
    assert accuracy == pytest.approx(recorded["test_accuracy"], abs=1e-6)  # float32; one image is 0.003
    assert recorded["test_accuracy"] > 0.2  # it learnt something: chance is 0.1

    for word in (
        f"wrote student.keras: student of {dataset}, {at(recorded['temperature'], recorded['alpha']).text(4)}",
        f"recorded test accuracy {100 * recorded['test_accuracy']:.2f} %",
        f"sha256 {recorded['blobs']['model']}",
    ):
        assert word in err.splitlines()


def test_an_existing_file_is_replaced_only_with_force(kd_sweeps: KdSweeps, url: str, tmp_path: Path) -> None:
    path = tmp_path / "student.keras"
    path.write_bytes(b"mine")
    code, _, err = kd_sweeps("export", "s", "-o", "student.keras", "--storage", url)
    assert (code, err) == (1, "kd-sweeps: student.keras exists; to replace it, add --force\n")
    assert path.read_bytes() == b"mine"
    assert kd_sweeps("export", "s", "-o", "student.keras", "--force", "--storage", url)[0] == 0
    assert len(path.read_bytes()) > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"student.keras", "x.db"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing option '-o' / '--output'; see: kd-sweeps export --help"),
        (["-o", "."], 2, ". is a folder; name the file, for example student.keras"),
        (["-o", "a.h5"], 2, "got 'a.h5'; the file name must end in .keras, for example student.keras"),
        (["-o", "no/a.keras"], 2, "no folder no; make it with: mkdir -p no"),
        (["-o", "a.keras", "--dataset", "mnist"], 2, "--dataset: got 'mnist'; this sweep has digits, digits-rgb"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    kd_sweeps: KdSweeps, url: str, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    assert kd_sweeps("export", "s", *arguments, "--storage", url) == (code, "", f"kd-sweeps: {message}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"x.db"}


def test_an_unwritable_disk_is_one_line_and_leaves_no_file(kd_sweeps: KdSweeps, url: str, tmp_path: Path) -> None:
    name = f"{'x' * 245}.keras"  # too long for the temporary file next to it
    code, _, err = kd_sweeps("export", "s", "-o", name, "--storage", url)
    assert (code, err.splitlines()[-1]) == (1, f"kd-sweeps: cannot write {name}: File name too long")
    assert {path.name for path in tmp_path.iterdir()} == {"x.db"}


def test_before_the_student_is_trained_the_exit_code_is_3(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/x.db", REAL)
    code, out, err = kd_sweeps("export", "s", "-o", "a.keras", "--storage", f"sqlite:///{tmp_path}/x.db")
    assert (code, out) == (3, "")
    assert err == (
        "kd-sweeps: the best student of digits is not trained yet (transfer#source.best.0 is waiting);"
        f" continue with: kd-sweeps launch s --storage sqlite:///{tmp_path}/x.db\n"
    )


def test_a_sweep_without_the_arm_best_says_so(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/x.db", override(REAL, {"transfer.source_arms": ["scratch"]}))
    code, _, err = kd_sweeps("export", "s", "-o", "a.keras", "--storage", f"sqlite:///{tmp_path}/x.db")
    assert (code, "arm best is not among its transfer arms" in err) == (1, True)


def test_a_damaged_student_is_refused_and_remade_by_the_suggested_command(
    kd_sweeps: KdSweeps, url: str, tmp_path: Path
) -> None:
    assert kd_sweeps("export", "s", "-o", "before.keras", "--storage", url)[0] == 0
    digest = hashlib.sha256((tmp_path / "before.keras").read_bytes()).hexdigest()
    execute(url, f"UPDATE blobs SET bytes = x'00' WHERE digest = '{digest}'")
    code, _, err = kd_sweeps("export", "s", "-o", "a.keras", "--storage", url)
    assert (code, len(err.splitlines())) == (1, 1)
    assert f"blob {digest[:12]} is damaged" in err
    assert err.endswith(f"type: kd-sweeps retry s --storage {url}, then kd-sweeps launch s --storage {url}\n")
    assert not (tmp_path / "a.keras").exists()

    assert kd_sweeps("retry", "s", "--storage", url)[1] == "transfer#source.best.0\n"
    work(resolve(url))
    assert kd_sweeps("export", "s", "-o", "a.keras", "--storage", url)[0] == 0
    models = [keras.saving.load_model(tmp_path / name).get_weights() for name in ("before.keras", "a.keras")]
    for before, after in zip(*models, strict=True):
        np.testing.assert_array_equal(before, after)

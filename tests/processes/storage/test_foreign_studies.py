"""Studies of other programs are never changed, even if a sweep needs their names."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from storage import tables
from storage.errors import SpecConflict, StudyMissing
from storage.failpoints import VARIABLE
from storage.studies.space import study_name
from storage.url import plain, resolve
from sweeps.contrib.archive.transfer import archive_sweep, import_sweep
from sweeps.distill.presets import on
from sweeps.plan.audit import audit
from sweeps.plan.plan import make_plan
from sweeps.query.listing import open_sweep
from sweeps.usecases.create import create_sweep
from sweeps.usecases.run import publish
from sweeps.usecases.steering import delete, reap_now
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.worker import Worker
from tests.support.old_storages import unpack
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import FORK, SMALL, created, draw

NAMES = [study_name("s", stage) for stage in make_plan(SMALL).stages]
REPLACED = ["s.teachers", "s.transfer"]


@contextlib.contextmanager
def stock(url: str) -> Iterator[optuna.storages.RDBStorage]:
    """Optuna's storage as any other program opens it."""
    storage = optuna.storages.RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def make_foreign(url: str, name: str, *, trials: int = 2, **attrs: str) -> None:
    with stock(url) as storage:
        study = optuna.create_study(study_name=name, storage=storage)
        for key, value in attrs.items():
            study.set_user_attr(key, value)
        study.optimize(lambda trial: trial.suggest_float("temperature", 1, 20), n_trials=trials)


def replace_by_foreign(url: str, name: str) -> None:
    with stock(url) as storage:
        optuna.delete_study(study_name=name, storage=storage)
    make_foreign(url, name)


def content(url: str, name: str) -> Any:
    """Return everything of a study that another program could have changed."""
    with stock(url) as storage:
        study_id = storage.get_study_id_from_name(name)
        trials = [
            (trial.number, trial.state, trial.values, trial.user_attrs) for trial in storage.get_all_trials(study_id)
        ]
        return trials, storage.get_study_user_attrs(study_id), storage.get_study_system_attrs(study_id)


def names(url: str) -> list[str]:
    with stock(url) as storage:
        return [study.study_name for study in storage.get_all_studies()]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished sweep as an archive."""
    folder = tmp_path_factory.mktemp("archive")
    url = created(f"sqlite:///{folder}/a.db")
    work(url, quadratic)
    archive_sweep(url, "s", folder / "s.kdsweep")
    return folder / "s.kdsweep"


def test_a_name_of_a_foreign_study_is_refused_and_nothing_is_created(storage_url: str, file: Path) -> None:
    url = resolve(storage_url)
    for number, name in enumerate((NAMES[0], NAMES[-1])):
        make_foreign(storage_url, name, trials=number % 2)
        before = content(storage_url, name)
        for make in (lambda: create_sweep(url, "s", SMALL), lambda: import_sweep(url, file)):
            with pytest.raises(SpecConflict, match=f"study '{name}' in .* belongs to another program") as caught:
                make()
            assert "\n" not in str(caught.value)
        assert names(storage_url) == [name]
        assert content(storage_url, name) == before
        engine = sqlalchemy.create_engine(url)
        assert not set(tables.metadata.tables) - {"studies"} & set(sqlalchemy.inspect(engine).get_table_names())
        engine.dispose()
        with stock(storage_url) as storage:
            optuna.delete_study(study_name=name, storage=storage)


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
def test_a_copy_of_a_sweeps_study_is_foreign(storage_url: str, tmp_path: Path) -> None:
    """A copy in another storage, or under another name, has the attributes of the original."""
    created(f"sqlite:///{tmp_path}/from.db")
    created(storage_url, name="other")
    with stock(f"sqlite:///{tmp_path}/from.db") as source, stock(storage_url) as target:
        for name in ("s", "s.transfer"):
            optuna.copy_study(from_study_name=name, from_storage=source, to_storage=target)
        before = content(storage_url, "s")
        with pytest.raises(SpecConflict, match=r"study 's' in .* belongs to another program"):
            create_sweep(resolve(storage_url), "s", SMALL)
        assert content(storage_url, "s") == before
        optuna.copy_study(from_study_name="other", from_storage=target, to_storage=target, to_study_name="other.kept")
    delete(resolve(storage_url), "other")
    assert sorted(names(storage_url)) == ["other.kept", "s", "s.transfer"]


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
def test_a_foreign_study_that_replaced_a_sweeps_is_left_alone(storage_url: str, tmp_path: Path) -> None:
    url = created(storage_url)
    with Worker(DatabaseBackend.open(url, "s"), run=quadratic) as worker:
        for name in REPLACED:
            replace_by_foreign(storage_url, name)
        before = {name: content(storage_url, name) for name in REPLACED}
        assert worker.work() == 0
    with pytest.raises(StudyMissing, match="another program has created one of that name; nothing was written"):
        draw(url)
    reap_now(url, "s")
    publish(url, "s")
    archive_sweep(url, "s", tmp_path / "s.kdsweep")
    with open_sweep(url, "s") as (engine, sweep):
        violations = audit(engine, sweep).violations
    lines = [f"study {name} was deleted by another tool" for name in REPLACED]
    assert [line.text.split(",")[0] for line in violations] == lines
    assert all("another program has created one of that name" in line.text for line in violations)
    with pytest.raises(SpecConflict, match="belongs to another program"):
        create_sweep(url, "s", SMALL)
    assert delete(url, "s").studies == len(NAMES) - len(REPLACED)
    assert {name: content(storage_url, name) for name in names(storage_url)} == before


def test_a_storage_of_an_older_version_is_upgraded_and_its_studies_known(tmp_path: Path) -> None:
    from storage.db.upgrade import upgrade

    url = unpack(2, tmp_path / "old.db")
    upgrade(url)
    replace_by_foreign(plain(url), "old.transfer")
    before = content(plain(url), "old.transfer")
    with open_sweep(url, "old") as (engine, sweep):
        assert [line.text.split(",")[0] for line in audit(engine, sweep).violations] == [
            "study old.transfer was deleted by another tool"
        ]
    assert delete(url, "old").studies == len(NAMES) - 1
    assert names(plain(url)) == ["old.transfer"]
    assert content(plain(url), "old.transfer") == before


def _create_and_crash(url: str, point: str) -> None:
    os.environ[VARIABLE] = point
    create_sweep(resolve(url), "s", SMALL)


def crash(url: str, point: str) -> None:
    doomed = FORK.Process(target=_create_and_crash, args=(url, point))
    doomed.start()
    doomed.join(60)
    assert doomed.exitcode == -9


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
def test_a_foreign_study_under_a_name_reserved_by_a_killed_create_is_kept(storage_url: str) -> None:
    from optuna_dashboard import save_note

    crash(storage_url, "study-named")
    with stock(storage_url) as storage:
        study = optuna.create_study(study_name="s.confirm", storage=storage)
        save_note(study, "mine")
    before = content(storage_url, "s.confirm")
    with pytest.raises(SpecConflict, match=r"study 's\.confirm' in .* belongs to another program"):
        create_sweep(resolve(storage_url), "s", SMALL)
    assert content(storage_url, "s.confirm") == before


def test_the_next_create_removes_what_a_killed_one_left(storage_url: str) -> None:
    crash(storage_url, "studies-made")
    assert "s.native" in names(storage_url)
    url = created(storage_url, on(SMALL, source="digits", alone=True))
    assert "s.native" not in names(storage_url)
    delete(url, "s")
    assert names(storage_url) == []


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)
def test_a_foreign_study_created_meanwhile_stays_and_the_sweeps_are_removed(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points: list[str] = []

    def make_meanwhile(point: str) -> None:
        if point == "study-named" and not points:
            make_foreign(storage_url, "s.confirm", trials=0)
            points.append(point)

    monkeypatch.setattr("storage.studies.studies.failpoint", make_meanwhile)
    for _ in range(2):  # the second create finds what the first one left, and the foreign study
        with pytest.raises(SpecConflict, match=r"study 's\.confirm' in .* belongs to another program"):
            create_sweep(resolve(storage_url), "s", SMALL)
        assert names(storage_url) == ["s.confirm"]

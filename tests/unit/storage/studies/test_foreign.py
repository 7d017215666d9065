"""Studies of another program, in real databases: only read."""

import hashlib
import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy import URL, create_engine, inspect, make_url

from storage.errors import NotAStorage, StudyMissing
from storage.studies.foreign import read_trials
from storage.url import plain, resolve


@pytest.fixture
def url(storage_url: str) -> URL:
    """Create studies "a" (with a failed trial) and "b", "two" with two objectives, and "lower", which minimizes."""
    url = resolve(storage_url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(plain(url))
    for study_name in ("a", "b"):
        study = optuna.create_study(study_name=study_name, storage=storage, direction="maximize")
        for seed in range(3):
            trial = study.ask({"lr": optuna.distributions.FloatDistribution(0.1, 0.1)})
            trial.set_user_attr("seed", seed)
            study.tell(trial, 0.5 + seed / 10)
        if study_name == "a":
            study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    optuna.create_study(study_name="two", storage=storage, directions=["minimize", "maximize"])
    optuna.create_study(study_name="lower", storage=storage, direction="minimize")
    storage.remove_session()
    storage.engine.dispose()
    return url


def test_trials_are_read_in_the_order_of_the_studies(url: URL) -> None:
    read = read_trials(url, ["b", "a"])
    assert [(trial.study, trial.number, trial.state) for trial in read.trials] == [
        *(("b", number, "COMPLETE") for number in range(3)),
        *(("a", number, "COMPLETE") for number in range(3)),
        ("a", 3, "FAIL"),
    ]
    assert read.trials[1].value == pytest.approx(0.6)
    assert (read.trials[1].params, read.trials[1].attrs, read.minimize) == ({"lr": 0.1}, {"seed": 1}, False)
    assert read_trials(url, ["lower"]).minimize


@pytest.mark.parametrize(
    ("studies", "error", "words"),
    [
        ([], StudyMissing, "has 4 studies; name some with --study, of: a, b, two, lower"),
        (["a", "c"], StudyMissing, "has no study 'c'"),
        (["two"], NotAStorage, "study two has 2 objectives; allowed: one"),
        (["a", "lower"], NotAStorage, "the studies a, lower have different directions"),
    ],
)
def test_studies_that_cannot_be_read_give_an_error(
    url: URL, studies: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        read_trials(url, studies)


def test_reading_a_database_without_studies_creates_no_tables(storage_url: str) -> None:
    url = resolve(storage_url)
    if url.get_backend_name() == "sqlite":
        with pytest.raises(NotAStorage, match="no such file"):
            read_trials(url, [])
        assert not Path(str(url.database)).exists()
        sqlite3.connect(str(url.database)).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table mine (a integer)")
    with pytest.raises(NotAStorage, match="lacks a table of kd-sweeps or Optuna"):
        read_trials(url, [])
    assert inspect(engine).get_table_names() == ["mine"]
    engine.dispose()


def test_an_sqlite_file_is_read_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    optuna.create_study(study_name="a", storage=f"sqlite:///{path}")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.chmod(0o444)
    assert read_trials(make_url(f"sqlite:///{path}"), []).trials == ()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in tmp_path.iterdir()] == ["optuna.db"]

"""Studies of another program, in a real SQLite file: read as they are, and nothing is written."""

import hashlib
import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy import URL, make_url

from storage.errors import NotAStorage, StudyMissing
from storage.studies.foreign import read_trials


@pytest.fixture
def url(tmp_path: Path) -> URL:
    """Studies "a" and "b", of which the first has a failed trial, "two" with two objectives, and "lower"."""
    name = f"sqlite:///{tmp_path}/optuna.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for study_name in ("a", "b"):
        study = optuna.create_study(study_name=study_name, storage=name, direction="maximize")
        for seed in range(3):
            trial = study.ask({"lr": optuna.distributions.FloatDistribution(0.1, 0.1)})
            trial.set_user_attr("seed", seed)
            study.tell(trial, 0.5 + seed / 10)
        if study_name == "a":
            study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    optuna.create_study(study_name="two", storage=name, directions=["minimize", "maximize"])
    optuna.create_study(study_name="lower", storage=name, direction="minimize")
    return make_url(name)


def test_trials_are_read_in_the_order_of_the_studies_and_nothing_is_written(url: URL) -> None:
    path = Path(str(url.database))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    read = read_trials(url, ["b", "a"])
    assert [(trial.study, trial.number, trial.state) for trial in read.trials] == [
        *(("b", number, "COMPLETE") for number in range(3)),
        *(("a", number, "COMPLETE") for number in range(3)),
        ("a", 3, "FAIL"),
    ]
    assert read.trials[1].value == pytest.approx(0.6)
    assert (read.trials[1].params, read.trials[1].attrs, read.minimize) == ({"lr": 0.1}, {"seed": 1}, False)
    assert read_trials(url, ["lower"]).minimize
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in path.parent.iterdir()] == ["optuna.db"]


@pytest.mark.parametrize(
    ("studies", "error", "words"),
    [
        ([], StudyMissing, "has 4 studies; name some with --study, of: a, b, two, lower"),
        (["a", "c"], StudyMissing, "has no study 'c'"),
        (["two"], NotAStorage, "study two has 2 objectives; allowed: one"),
        (["a", "lower"], NotAStorage, "the studies a, lower have other directions"),
    ],
)
def test_what_cannot_be_read_is_one_line(url: URL, studies: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_trials(url, studies)


def test_a_database_without_studies_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (a)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NotAStorage, match="holds no Optuna studies"):
        read_trials(make_url(f"sqlite:///{path}"), [])
    assert path.read_bytes() == before
    with pytest.raises(NotAStorage, match="no such file"):
        read_trials(make_url(f"sqlite:///{tmp_path}/none.db"), [])
    assert not (tmp_path / "none.db").exists()

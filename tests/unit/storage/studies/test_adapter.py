"""storage.studies.studies: studies and trials as Optuna reads them, also after crashes and deletions."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
import pytest
from sqlalchemy import URL, Connection, Engine, event, text

from storage.db.engine import open_engine
from storage.db.transaction import read, write
from storage.errors import NotAStorage, StudyMissing, StudyMixed, Unreachable
from storage.studies.ownership import Owner
from storage.studies.space import MARK_ATTR, Categorical, Mark, Range, Space, Trial
from storage.studies.studies import Studies, open_studies
from storage.url import resolve
from tests.support.both_databases import both

SPACE: Space = {"temperature": Range(1.0, 20.0, log=True), "alpha": Range(0.0, 1.0)}
PARAMS = {"temperature": 4.0, "alpha": 0.25}
OWNER = Owner("s", "s")  # as `new_sweep` has it
OWN = {"identity": "s", "stage": "search"}


@pytest.fixture
def studies(storage: Studies) -> Studies:
    storage.create("s", metric="val_accuracy", attrs=OWN, note="# A note")
    return storage


def stock(studies: Studies, name: str = "s") -> optuna.Study:
    """Load the study as other programs do, over our connections."""
    return optuna.load_study(study_name=name, storage=studies.storage)


def running(attempt: int = 1, **attrs: Any) -> Trial:
    """Return a trial that has just begun."""
    mark = {"task": "search#0", "attempt": attempt, **attrs}
    return Trial(state="RUNNING", attrs={MARK_ATTR: mark}, space=SPACE, params=PARAMS, started_at=time.time())


def ended(state: str = "COMPLETE", value: float | None = 0.5, attempt: int = 1, **more: Any) -> Trial:
    """Return the same trial at its end."""
    attrs = {**running(attempt).attrs, **more.pop("attrs", {})}
    return replace(running(), state=state, value=value, attrs=attrs, ended_at=time.time(), **more)


def draw(studies: Studies, trial: Trial | None = None) -> int:
    return studies.draw("s", trial or running(), likely=0)


def trial_states(studies: Studies, name: str = "s") -> list[str]:
    return [trial.state.name for trial in stock(studies, name).trials]


@contextmanager
def statements(look: Callable[[str], None]) -> Iterator[None]:
    """Call `look` with every statement that this process sends."""

    def after(connection: Connection, cursor: Any, statement: str, *more: Any) -> None:
        look(statement)

    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", after)


@both
def test_creating_or_deleting_a_study_again_changes_nothing_and_the_dashboard_reads_its_note(studies: Studies) -> None:
    from optuna_dashboard import get_note

    studies.create("long", metric="val_accuracy", attrs=OWN, note="# A note\n" * 600)
    stock(studies, "long").ask()
    assert get_note(stock(studies, "long")) == "# A note\n" * 600
    for _ in range(2):
        studies.delete("long")
        assert studies.names() == ["s"]
    studies.create("s", metric="val_accuracy", attrs=OWN, note="another note", complete=True)
    study = stock(studies)
    assert study.metric_names == ["val_accuracy"]
    assert study.user_attrs == OWN
    assert study.direction.name == "MAXIMIZE"
    assert get_note(study) == "# A note"


@both
def test_a_trial_is_drawn_as_given_even_if_another_is_enqueued(studies: Studies) -> None:
    stock(studies).enqueue_trial({"temperature": 9.0, "alpha": 0.9})
    trial = replace(
        running(seed=7),
        space=SPACE | {"method": Categorical(("autokeras", "pretrained"))},
        params=PARAMS | {"method": "pretrained"},
    )
    number = draw(studies, trial)
    waiting, ours = stock(studies).trials
    assert [trial.state.name for trial in (waiting, ours)] == ["WAITING", "RUNNING"]
    assert (ours.number, ours.params) == (number, trial.params)
    assert ours.user_attrs == {"kd-sweeps": {"task": "search#0", "attempt": 1, "seed": 7}}
    assert ours.distributions["temperature"] == optuna.distributions.FloatDistribution(1.0, 20.0, log=True)
    assert ours.datetime_start == datetime.fromtimestamp(trial.started_at)


@both
def test_a_trial_is_invisible_until_it_is_written_completely(studies: Studies, url: URL) -> None:
    numbers: list[int] = []
    other = open_engine(url, read_only=True)

    def look(statement: str) -> None:
        if statement.startswith("INSERT INTO trial_params"):
            with read(other) as reading:
                numbers.append(reading.exec_driver_sql("SELECT count(*) FROM trials").scalar_one())

    with statements(look):
        draw(studies)
    other.dispose()
    assert numbers == [0, 0]
    assert trial_states(studies) == ["RUNNING"]


@both
def test_a_trial_that_has_ended_is_drawn_whole(studies: Studies) -> None:
    draw(studies, ended(attrs={"result": {"train_s": 1.5}}, epoch_values=[0.1, None, 0.2]))
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 0.5, {0: 0.1, 2: 0.2})
    assert trial.user_attrs == {"kd-sweeps": {"task": "search#0", "attempt": 1}, "result": {"train_s": 1.5}}


@both
def test_a_running_trial_gets_its_missing_values_before_it_is_ended(studies: Studies) -> None:
    number, texts = draw(studies), list[str]()
    with statements(texts.append):
        studies.end("s", number, ended(attrs={"result": {"b": 1}}, epoch_values=[0.1, 0.2]))
    writing = [statement.split() for statement in texts if not statement.startswith(("SELECT", "BEGIN"))]
    written_to = [words[2] if words[0] == "INSERT" else words[1] for words in writing]
    assert written_to[:3] == ["trial_user_attributes", "trial_intermediate_values", "trial_intermediate_values"]
    assert sorted(written_to[3:]) == ["trial_values", "trials"], "in one transaction"
    (trial,) = stock(studies).trials
    assert trial.user_attrs == {**running().attrs, "result": {"b": 1}}
    assert trial.datetime_complete is not None
    assert trial.datetime_start is not None
    assert trial.datetime_complete >= trial.datetime_start


@both
def test_trials_made_at_once_by_us_and_by_another_tool_get_different_numbers(studies: Studies, url: URL) -> None:
    def ours(n: int) -> int:
        return draw(studies)

    def of_another_tool(n: int) -> int:
        return stock(studies).ask().number

    with ThreadPoolExecutor(3) as threads:
        numbers = [*threads.map(ours, range(5)), *threads.map(of_another_tool, range(5)), ours(10)]
        futures = [threads.submit(ask, 0) for ask in (ours, of_another_tool) * 5]
        numbers += [future.result() for future in futures]
    assert sorted(numbers) == list(range(21))
    assert [trial.number for trial in stock(studies).trials] == list(range(21))


@both
def test_ending_a_trial_a_second_time_changes_nothing(studies: Studies) -> None:
    number = draw(studies)
    for value in (0.9, 0.1):
        studies.end("s", number, ended(value=value, attrs={"result": {"n": value}}, epoch_values=[0.5, value]))
    studies.end("s", number, ended("FAIL", None))
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 0.9, {0: 0.5, 1: 0.9})
    assert trial.user_attrs["result"] == {"n": 0.9}


@both
def test_epoch_values_that_are_not_finite_are_read_back_unchanged(studies: Studies) -> None:
    draw(studies, ended("FAIL", None, epoch_values=[math.inf, -math.inf, math.nan, 1]))
    (trial,) = stock(studies).trials
    assert repr(trial.intermediate_values) == "{0: inf, 1: -inf, 2: nan, 3: 1.0}"


@pytest.mark.parametrize(("epochs", "value"), [([0.3, 0.4], 0.4), ([0.3, math.nan], None), ([], None)])
def test_a_pruned_trial_has_the_value_of_its_last_epoch(
    studies: Studies, epochs: list[float], value: float | None
) -> None:
    studies.end("s", draw(studies), ended("PRUNED", None, epoch_values=epochs))
    draw(studies, ended("PRUNED", None, epoch_values=epochs))
    assert [(trial.state.name, trial.value) for trial in stock(studies).trials] == [("PRUNED", value)] * 2


def test_a_trial_that_another_tool_ends_between_our_writes_keeps_that_end(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = draw(studies)
    monkeypatch.setattr("storage.studies.studies.failpoint", lambda point: stock(studies).tell(number, 0.25))
    studies.end("s", number, ended(attrs={"result": 1}))
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value, trial.user_attrs["result"]) == ("COMPLETE", 0.25, 1)


def test_a_study_deleted_between_our_writes_gives_a_one_line_error(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = draw(studies)
    monkeypatch.setattr("storage.studies.studies.failpoint", lambda point: studies.delete("s"))
    with pytest.raises(StudyMissing, match="was deleted"):
        studies.end("s", number, ended())


@both
def test_a_deleted_study_gives_a_one_line_error_and_a_recreated_one_has_new_trials(studies: Studies) -> None:
    number = draw(studies)
    optuna.delete_study(study_name="s", storage=studies.storage)
    for attempt in (
        lambda: draw(studies),
        lambda: studies.end("s", number, ended()),
        lambda: studies.mark("s", number),
        lambda: studies.check_own("s", OWNER),
    ):
        with pytest.raises(StudyMissing, match=r"was deleted") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert [(step.action, step.sweep) for step in caught.value.next_steps] == [("report", "s"), ("create", "s")]
    studies.create("s", metric="val_accuracy", attrs=OWN, note=None)
    studies.end("s", number, ended())
    assert draw(studies, running(attempt=2)) == number
    studies.end("s", number, ended())
    assert trial_states(studies) == ["RUNNING"], "the trial with that number belongs to another attempt"
    assert studies.mark("s", number) == (Mark("search#0", 2, None), True)


def test_opening_studies_creates_no_storage(tmp_path: Any, postgres_url: str) -> None:
    with pytest.raises(NotAStorage, match="no storage at"):
        open_studies(resolve(f"sqlite:///{tmp_path}/x.db"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotAStorage, match="holds no kd-sweeps tables"):
        open_studies(resolve(postgres_url))
    with pytest.raises(Unreachable, match="nowhere"):
        open_studies(resolve(postgres_url).set(database="nowhere"))


@pytest.mark.parametrize(
    ("version", "message"), [("v2.6.0.a", "optuna storage upgrade"), ("v99", "upgrade Optuna here")]
)
def test_optuna_tables_of_another_version_give_a_one_line_error(
    studies: Studies, url: URL, version: str, message: str
) -> None:
    with write(studies.engine) as connection:
        (right,) = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    try:
        with pytest.raises(NotAStorage, match=f"version {version}, but .* {message}"):
            open_studies(url)
    finally:
        with write(studies.engine) as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{right}'")


def test_a_study_with_parameters_of_another_type_gives_a_one_line_error_and_gets_no_trial(studies: Studies) -> None:
    words = {"alpha": optuna.distributions.CategoricalDistribution(["low", "high"])}
    stock(studies).add_trial(optuna.trial.create_trial(value=0.5, params={"alpha": "low"}, distributions=words))
    with pytest.raises(StudyMixed, match="another tool") as caught:
        draw(studies)
    assert "\n" not in str(caught.value)
    assert trial_states(studies) == ["COMPLETE"]


@both
def test_a_damaged_value_of_optuna_gives_a_one_line_error_that_does_not_blame_another_tool(studies: Studies) -> None:
    number = draw(studies)
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE trial_user_attributes SET value_json = substr(value_json, 1, 4)"))
    for attempt in (lambda: studies.mark("s", number), lambda: studies.end("s", number, ended())):
        with pytest.raises(NotAStorage, match=r"a value of study 's' in .* is no longer JSON") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE study_user_attributes SET value_json = substr(value_json, 1, 2)"))
    with pytest.raises(NotAStorage, match=r"a value of a study in .* is no longer JSON"):
        studies.names()
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE trial_params SET distribution_json = substr(distribution_json, 1, 4)"))
    with pytest.raises(NotAStorage, match="no longer JSON"):
        draw(studies)

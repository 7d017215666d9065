"""storage.studies: Optuna's record agrees with ours, whatever crashed or was deleted."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from sqlalchemy import URL, Connection, Engine, event, select, text

from storage.db.engine import open_engine
from storage.db.transaction import read, write
from storage.errors import NotAStorage, ParametersRefused, StudyMissing, StudyMixed, Unreachable
from storage.queue import plans, tasks, workers
from storage.queue.tasks import Ending, given_back, reap_worker
from storage.records import queries
from storage.studies.ownership import Owner
from storage.studies.reconcile import mark_reported, reconcile, unreported
from storage.studies.space import Choice, Range, Space
from storage.studies.studies import Studies, open_studies
from storage.tables import TaskRecord, attempts
from storage.url import plain, resolve
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, new_sweep

SPACE: Space = {"temperature": Range(1.0, 20.0, log=True), "alpha": Range(0.0, 1.0)}
PARAMS = {"temperature": 4.0, "alpha": 0.25}
OWNER = Owner("s", "s")  # as `new_sweep` has it
OWN = {"identity": "s", "stage": "search"}
OUTCOME: dict[str, Any] = {"trial": {"value": 0.9, "attrs": {"train_s": 1.5}, "epoch_values": [0.5, 0.9]}}


@pytest.fixture
def studies(storage: Studies) -> Studies:
    """One of them, without trials."""
    storage.create("s", metric="val_accuracy", attrs=OWN, note="# A note")
    return storage


def stock(studies: Studies, name: str = "s") -> optuna.Study:
    """The study as any other program loads it, with a storage object of its own kind but our connections."""
    return optuna.load_study(study_name=name, storage=studies.storage)


def asked(studies: Studies, claim: TaskRecord, *, study: str = "s", saved: bool = True) -> int:
    """A trial asked for and saved, as a worker does."""
    attrs = {"task": claim.key, "attempt": claim.attempt}
    number = studies.ask(study, SPACE, owner=OWNER, params=PARAMS, attrs=attrs)
    if saved:
        assert tasks.save_trial(studies.engine, claim, study=study, number=number, params=PARAMS)
    return number


def trial_states(studies: Studies, name: str = "s") -> list[str]:
    return [trial.state.name for trial in stock(studies, name).trials]


def told_flags(engine: Engine) -> list[bool]:
    with read(engine) as connection:
        return list(connection.scalars(select(attempts.c.reported).order_by(attempts.c.task_id, attempts.c.number)))


@contextmanager
def statements(look: Callable[[str], None]) -> Iterator[None]:
    """Look at every statement that Optuna or we have sent in this process."""

    def after(connection: Connection, cursor: Any, statement: str, *more: Any) -> None:
        look(statement)

    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", after)


# studies


@both
def test_creating_or_deleting_a_study_twice_changes_nothing_and_the_dashboard_reads_its_note(studies: Studies) -> None:
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
def test_given_parameters_are_asked_exactly_and_shown_as_such_whatever_is_enqueued(studies: Studies) -> None:
    stock(studies).enqueue_trial({"temperature": 9.0, "alpha": 0.9})
    space: Space = SPACE | {"method": Choice(("autokeras", "pretrained"))}
    params = PARAMS | {"method": "pretrained"}
    number = studies.ask("s", space, owner=OWNER, params=params, attrs={"task": "search#0"})
    waiting, ours = stock(studies).trials
    assert [trial.state.name for trial in (waiting, ours)] == ["WAITING", "RUNNING"]
    assert (ours.number, ours.params) == (number, params)
    assert ours.user_attrs == {"task": "search#0", "asked_by": "kd-sweeps"}
    assert ours.distributions["temperature"] == optuna.distributions.FloatDistribution(1.0, 20.0, log=True)
    assert ours.datetime_start is not None
    assert abs(datetime.now() - ours.datetime_start) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temperature": 21.0, "alpha": 0.5}, r"temperature is 21\.0, allowed: \[1, 20\]"),
        ({"temperature": 4.0, "alpha": float("nan")}, "alpha is nan"),
        ({"temperature": 4.0}, "given parameters"),
        ({"temperature": 4.0, "alpha": 0.5, "beta": 1.0}, "given parameters"),
    ],
)
def test_parameters_outside_the_space_make_no_trial(studies: Studies, params: dict[str, float], said: str) -> None:
    with pytest.raises(ParametersRefused, match=said):
        studies.ask("s", SPACE, owner=OWNER, params=params)
    assert trial_states(studies) == []


@both
def test_nobody_sees_a_trial_that_is_being_made(studies: Studies, url: URL) -> None:
    seen: list[int] = []
    other = open_engine(url, read_only=True)

    def look(statement: str) -> None:
        if statement.startswith("INSERT INTO trial_params"):
            with read(other) as reading:
                seen.append(reading.exec_driver_sql("SELECT count(*) FROM trials").scalar_one())

    with statements(look):
        studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    other.dispose()
    assert seen == [0, 0]
    assert trial_states(studies) == ["RUNNING"]


@both
def test_a_result_is_written_with_what_the_trial_lacks_and_ended_last(studies: Studies) -> None:
    attrs = {f"attribute {n}": n for n in range(10)}
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS, attrs=attrs)
    sent: list[str] = []
    with statements(sent.append):
        studies.tell("s", number, state="COMPLETE", value=0.5, attrs=attrs | {"b": 1}, epoch_values=[0.1, 0.2])
    writing = [statement.split() for statement in sent if not statement.startswith(("SELECT", "BEGIN"))]
    written_to = [words[2] if words[0] == "INSERT" else words[1] for words in writing]
    assert written_to[:3] == ["trial_user_attributes", "trial_intermediate_values", "trial_intermediate_values"]
    assert sorted(written_to[3:]) == ["trial_values", "trials"], "in one transaction"
    (trial,) = stock(studies).trials
    assert trial.user_attrs == attrs | {"b": 1, "asked_by": "kd-sweeps"}
    assert trial.datetime_complete is not None
    assert trial.datetime_start is not None
    assert trial.datetime_complete >= trial.datetime_start


@both
def test_whoever_makes_trials_at_once_each_number_is_given_once(studies: Studies, url: URL) -> None:
    def ours(n: int) -> int:
        return studies.ask("s", SPACE, owner=OWNER, params=PARAMS)

    def of_another_tool(n: int) -> int:
        return stock(studies).ask().number

    with ThreadPoolExecutor(3) as threads:
        numbers = [*threads.map(ours, range(5)), *threads.map(of_another_tool, range(5)), ours(10)]
        both = [threads.submit(ask, 0) for ask in (ours, of_another_tool) * 5]
        numbers += [one.result() for one in both]
    assert sorted(numbers) == list(range(21))
    assert [trial.number for trial in stock(studies).trials] == list(range(21))


@both
def test_telling_writes_attributes_and_epochs_and_a_second_time_changes_nothing(studies: Studies) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS, attrs={"task": "search#0"})
    for value in (0.9, 0.1):
        studies.tell("s", number, state="COMPLETE", value=value, attrs={"n": value}, epoch_values=[0.5, value])
    studies.tell("s", number, state="FAIL", value=None, attrs={})
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 0.9, {0: 0.5, 1: 0.9})
    assert trial.user_attrs == {"task": "search#0", "asked_by": "kd-sweeps", "n": 0.9}


@both
def test_epoch_values_that_are_not_finite_come_back_as_they_were(studies: Studies) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    studies.tell("s", number, state="FAIL", value=None, attrs={}, epoch_values=[math.inf, -math.inf, math.nan, 1])
    (trial,) = stock(studies).trials
    assert repr(trial.intermediate_values) == "{0: inf, 1: -inf, 2: nan, 3: 1.0}"


@pytest.mark.parametrize(("epochs", "value"), [([0.3, 0.4], 0.4), ([0.3, math.nan], None), ([], None)])
def test_a_pruned_trial_is_worth_what_it_reached(studies: Studies, epochs: list[float], value: float | None) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    studies.tell("s", number, state="PRUNED", value=None, attrs={}, epoch_values=epochs)
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value) == ("PRUNED", value)


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_complete_trial_without_a_value_is_refused_and_nothing_written(studies: Studies, value: float | None) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    with pytest.raises(ValueError, match="needs a value"):
        studies.tell("s", number, state="COMPLETE", value=value, attrs={"a": 1})
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.user_attrs) == ("RUNNING", {"asked_by": "kd-sweeps"})


@both
def test_attributes_that_a_crash_left_are_completed_and_stay(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)

    class Crash(Exception):
        pass

    def crash(point: str) -> None:
        raise Crash

    def tell(attrs: dict[str, int], epoch: float) -> None:
        studies.tell("s", number, state="COMPLETE", value=0.5, attrs=attrs, epoch_values=[epoch])

    with monkeypatch.context() as patched:
        patched.setattr("storage.studies.studies.failpoint", crash)
        with pytest.raises(Crash):
            tell({"a": 1, "b": 1}, 0.5)
    assert trial_states(studies) == ["RUNNING"]
    tell({"b": 2, "c": 2}, 0.6)
    tell({"a": 3}, 0.7)
    (trial,) = stock(studies).trials
    assert trial.user_attrs == {"asked_by": "kd-sweeps", "a": 1, "b": 2, "c": 2}
    assert trial.intermediate_values == {0: 0.6}


def test_a_trial_that_others_end_between_our_writes_stays_so(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    monkeypatch.setattr("storage.studies.studies.failpoint", lambda point: stock(studies).tell(number, 0.25))
    studies.tell("s", number, state="COMPLETE", value=0.5, attrs={"a": 1})
    (trial,) = stock(studies).trials
    assert (trial.state.name, trial.value, trial.user_attrs["a"]) == ("COMPLETE", 0.25, 1)


def test_a_study_deleted_between_our_writes_is_one_line(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    monkeypatch.setattr("storage.studies.studies.failpoint", lambda point: studies.delete("s"))
    with pytest.raises(StudyMissing, match="it was deleted"):
        studies.tell("s", number, state="COMPLETE", value=0.5, attrs={"a": 1})


@both
def test_a_deleted_study_is_one_clear_line_and_made_again_it_does_not_take_the_old_trials(studies: Studies) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    optuna.delete_study(study_name="s", storage=studies.storage)
    for attempt in (
        lambda: studies.ask("s", SPACE, owner=OWNER, params=PARAMS),
        lambda: studies.tell("s", number, state="COMPLETE", value=0.5, attrs={}),
        lambda: studies.running("s"),
    ):
        with pytest.raises(StudyMissing, match=r"it was deleted") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert [(step.action, step.sweep) for step in caught.value.next_steps] == [("report", "s"), ("create", "s")]
    studies.create("s", metric="val_accuracy", attrs=OWN, note=None)
    with pytest.raises(StudyMissing, match=f"its trial {number} was deleted"):
        studies.tell("s", number, state="COMPLETE", value=0.5, attrs={})


def test_studies_of_no_storage_are_not_made_by_opening_them(tmp_path: Any, postgres_url: str) -> None:
    with pytest.raises(NotAStorage, match="no storage at"):
        open_studies(resolve(f"sqlite:///{tmp_path}/x.db"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotAStorage, match="holds no kd-sweeps tables"):
        open_studies(resolve(postgres_url))
    with pytest.raises(Unreachable, match="nowhere"):
        open_studies(resolve(postgres_url).set(database="nowhere"))


@pytest.mark.parametrize(("version", "said"), [("v2.6.0.a", "optuna storage upgrade"), ("v99", "upgrade Optuna here")])
def test_optuna_tables_of_another_version_are_one_line(studies: Studies, url: URL, version: str, said: str) -> None:
    with write(studies.engine) as connection:
        (right,) = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    try:
        with pytest.raises(NotAStorage, match=f"version {version}, but .* {said}"):
            open_studies(url)
    finally:
        with write(studies.engine) as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{right}'")


def test_stock_optuna_reads_what_we_wrote(studies: Studies, url: URL) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    studies.tell("s", number, state="COMPLETE", value=0.9, attrs={})
    storage = optuna.storages.RDBStorage(plain(url))
    frame = optuna.load_study(study_name="s", storage=storage).trials_dataframe()
    storage.engine.dispose()
    assert frame["value_val_accuracy"].tolist() == [0.9]
    assert frame["params_temperature"].tolist() == [4.0]


# reconcile


@both
def test_a_crash_between_finish_and_tell_or_tell_and_note_is_repaired_once(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    numbers = []
    for _ in range(2):
        claim = claimed(engine, sweep)
        numbers.append(asked(studies, claim))
        assert tasks.finish(engine, claim, outcome=OUTCOME, score=0.9)
    studies.tell("s", numbers[1], state="COMPLETE", value=0.9, attrs={})
    assert trial_states(studies) == ["RUNNING", "COMPLETE"]
    left = [(attempt.key, attempt.number, attempt.trial_number) for attempt in unreported(engine, sweep)]
    assert left == [("search#0", 1, 0), ("search#1", 1, 1)]
    assert reconcile(studies, engine, sweep) == 1
    repaired, whole = stock(studies).trials
    assert (repaired.state.name, repaired.value, repaired.intermediate_values) == ("COMPLETE", 0.9, {0: 0.5, 1: 0.9})
    assert (repaired.user_attrs["train_s"], "train_s" in whole.user_attrs) == (1.5, False)
    assert told_flags(engine) == [True, True]
    assert unreported(engine, sweep) == []
    assert reconcile(studies, engine, sweep) == 0


def test_trials_of_failed_lost_released_and_cancelled_attempts_say_why(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    failing = claimed(engine, sweep)
    asked(studies, failing)
    tasks.end(engine, failing, Ending("failed", "memory", "killed by the kernel"), cap=9)
    asked(studies, claimed(engine, sweep, worker="dead"))
    reap_worker(engine, "dead", cap=9)
    released = claimed(engine, sweep)
    asked(studies, released)
    tasks.end(engine, released, given_back())
    asked(studies, claimed(engine, sweep))
    workers.cancel(engine, sweep)
    assert reconcile(studies, engine, sweep) == 4
    assert trial_states(studies) == ["FAIL"] * 4
    assert [trial.user_attrs["reason"] for trial in stock(studies).trials] == [
        "killed by the kernel", "lost worker dead: its process died", "its worker was asked to stop",
        "the sweep was cancelled",
    ]  # fmt: skip
    assert told_flags(engine) == [True] * 4
    workers.resume(engine, sweep)
    again = claimed(engine, sweep)
    assert (again.params, again.retry_of) == (PARAMS, 3)


def test_a_result_destroyed_before_its_trial_was_told_fails_and_is_made_again(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    claim = claimed(engine, sweep)
    asked(studies, claim)
    assert tasks.finish(engine, claim, outcome=OUTCOME, score=0.9)
    with write(engine) as connection:
        connection.exec_driver_sql("UPDATE tasks SET outcome = '{'")
    assert plans.retry(engine, sweep, revision=1) == ["search#0"]
    again = claimed(engine, sweep)
    asked(studies, again)
    assert tasks.finish(engine, again, outcome=OUTCOME, score=0.9)
    assert reconcile(studies, engine, sweep) == 2
    assert trial_states(studies) == ["FAIL", "COMPLETE"]
    assert stock(studies).trials[0].user_attrs["reason"] == "what came out of it could not be read any more"


def test_an_orphan_fails_but_not_while_a_worker_may_be_about_to_save_it(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    asked(studies, claimed(engine, sweep, worker="dead"), saved=False)  # and the worker dies
    assert reconcile(studies, engine, sweep) == 0, "from here a living worker between ask and save looks the same"
    reap_worker(engine, "dead", cap=9)
    asked(studies, claimed(engine, sweep), saved=False)  # the same task again, by a worker that is about to save
    assert reconcile(studies, engine, sweep) == 1
    assert trial_states(studies) == ["FAIL", "RUNNING"]
    assert "orphan" in stock(studies).trials[0].user_attrs["reason"]
    twice = claimed(engine, sweep)
    asked(studies, twice, saved=False)  # the connection was cut after the commit: it asks again
    asked(studies, twice)
    assert reconcile(studies, engine, sweep) == 1
    assert trial_states(studies) == ["FAIL", "RUNNING", "FAIL", "RUNNING"]


def test_trials_of_other_tools_are_left_alone(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    study = stock(studies)
    foreign = optuna.trial.create_trial(
        value=0.99,
        params={"temperature": 3.0, "alpha": 0.1},
        distributions={
            "temperature": optuna.distributions.FloatDistribution(1, 20, log=True),
            "alpha": optuna.distributions.FloatDistribution(0, 1),
        },
    )
    study.add_trial(foreign)
    study.ask()
    study.enqueue_trial({"alpha": 0.5})
    claim = claimed(engine, sweep)
    asked(studies, claim)
    tasks.finish(engine, claim, outcome=OUTCOME, score=0.9)
    assert reconcile(studies, engine, sweep) == 1
    assert trial_states(studies) == ["COMPLETE", "RUNNING", "WAITING", "COMPLETE"]
    assert stock(studies).trials[0].user_attrs == {}


def test_a_deleted_study_does_not_stop_repair_of_the_others(studies: Studies, engine: Engine) -> None:
    studies.create("s.confirm", metric="val_accuracy", attrs={"identity": "s", "stage": "confirm"}, note=None)
    sweep = new_sweep(engine, number=2)
    for study in ("s", "s.confirm"):
        claim = claimed(engine, sweep)
        asked(studies, claim, study=study)
        tasks.finish(engine, claim, outcome=OUTCOME, score=0.9)
    optuna.delete_study(study_name="s", storage=studies.storage)
    assert reconcile(studies, engine, sweep) == 1
    assert trial_states(studies, "s.confirm") == ["COMPLETE"]
    assert [left.study for left in unreported(engine, sweep)] == ["s"], "an audit shall still see it"
    assert queries.task_records(engine, sweep)[0].state == "done", "our rows keep the result"


def test_a_trial_that_only_shares_its_number_with_a_deleted_one_is_not_told(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    old = claimed(engine, sweep)
    asked(studies, old)
    tasks.finish(engine, old, outcome=OUTCOME, score=0.9)
    optuna.delete_study(study_name="s", storage=studies.storage)
    studies.create("s", metric="val_accuracy", attrs=OWN, note=None)
    living = claimed(engine, sweep)
    number = asked(studies, living)
    assert reconcile(studies, engine, sweep) == 0
    studies.tell("s", number, state="COMPLETE", value=0.9, attrs={}, required={"task": old.key, "attempt": old.attempt})
    assert trial_states(studies) == ["RUNNING"], "nor does its worker tell another task's trial"
    mark_reported(engine, living.id, living.attempt)


def test_a_study_with_parameters_of_another_kind_is_one_clear_line_and_no_trial_is_made(studies: Studies) -> None:
    words = {"alpha": optuna.distributions.CategoricalDistribution(["low", "high"])}
    stock(studies).add_trial(optuna.trial.create_trial(value=0.5, params={"alpha": "low"}, distributions=words))
    with pytest.raises(StudyMixed, match="another tool") as caught:
        studies.ask("s", SPACE, owner=OWNER, params=PARAMS)
    assert "\n" not in str(caught.value)
    assert trial_states(studies) == ["COMPLETE"]


@both
def test_a_value_of_optunas_that_is_no_json_any_more_is_one_line_and_blames_no_other_tool(studies: Studies) -> None:
    number = studies.ask("s", SPACE, owner=OWNER, params=PARAMS, attrs={"task": "search#0"})
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE trial_user_attributes SET value_json = substr(value_json, 1, 4)"))
    for attempt in (
        lambda: studies.running("s"),
        lambda: studies.tell("s", number, state="COMPLETE", value=0.5, attrs={}, required={"task": "search#0"}),
    ):
        with pytest.raises(NotAStorage, match=r"a value of study 's' in .* is not JSON any more") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE study_user_attributes SET value_json = substr(value_json, 1, 2)"))
    with pytest.raises(NotAStorage, match=r"a value of a study in .* is not JSON any more"):
        studies.names()
    with write(studies.engine) as connection:
        connection.execute(text("UPDATE trial_params SET distribution_json = substr(distribution_json, 1, 4)"))
    with pytest.raises(NotAStorage, match="not JSON any more"):
        studies.ask("s", SPACE, owner=OWNER, params=PARAMS)

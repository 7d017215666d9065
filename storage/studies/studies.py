"""`Studies`: open, create, ask, tell; the only face to Optuna's storage.

Optuna proposes and is what people watch; our tasks decide and remember. So nothing here may stop a sweep for
good: what another tool did to a study (deleting it, adding trials) is one clear line or no matter. Only public
methods of Optuna are called (docs/decisions/optuna-public-interface.md).
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import URL, Engine

from storage.db.engine import open_engine
from storage.db.transaction import is_refused_for_now, is_transient_or_full, retry_transient
from storage.errors import NotAStorage, ParametersRefused, StudyMissing, StudyMixed
from storage.failpoints import failpoint
from storage.studies import ownership, sampler, trials
from storage.studies.space import OWNER, OWNER_ATTR, EndedTrial, RunningTrial, Space, check_params, of_sweep
from storage.url import masked, plain


@retry_transient(when=is_refused_for_now)
def connect(url: URL, *, create: bool = False) -> tuple[RDBStorage, Engine]:
    """Open the storage, with one pool of connections for our queries and for Optuna.

    The engine is the one engine of the process. Optuna's constructor takes no engine, but it hands a pool on to
    SQLAlchemy: so its own engine object borrows the connections of ours, with our settings, and opens none itself.

    create: make Optuna's tables (and a missing SQLite file); inside `storage.db.engine.create_lock`. NotAStorage:
    nothing there, or tables of another Optuna. Unreachable: no server, no access, wrong password.
    """
    engine = open_engine(url, must_exist=not create)  # our checks first: their lines say what to do next
    engine.dispose()  # SQLAlchemy prepares Optuna's engine when the pool connects for the first time
    # Its default is a line per trial, and its warnings say with pages of SQL what we say in a line.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with trials.explain_faults(url, lambda: (), ""), without_warnings():
            rdb = RDBStorage(
                plain(url),
                engine_kwargs={"pool": engine.pool},
                skip_compatibility_check=True,  # ours can close the connection before it complains
                skip_table_creation=not create,
            )
            _check_version(rdb, url)
    except BaseException:
        engine.dispose()
        raise
    return rdb, engine


_head: list[str] = []  # filled by the first that asks: Optuna reads 15 migration scripts to tell it


def _check_version(rdb: RDBStorage, url: URL) -> None:
    if not _head:
        _head.append(rdb.get_head_version())
    version, (needed,) = rdb.get_current_version(), _head
    if version == needed:
        return
    known = version in rdb.get_all_versions()
    cure = f"type: optuna storage upgrade --storage {masked(url)}" if known else "upgrade Optuna here"
    raise NotAStorage(f"{masked(url)} has Optuna tables of version {version}, but {needed} is needed; {cure}")


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Optuna's warning that metric names are experimental: a user cannot act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def open_studies(url: URL, *, create: bool = False) -> "Studies":
    return Studies(*connect(url, create=create))


class Studies:
    """The studies of one database. Safe to use from several threads."""

    def __init__(self, rdb: RDBStorage, engine: Engine) -> None:
        self._rdb = rdb
        self.engine = engine
        self._pool = engine.pool
        self._url = engine.url
        self._next_number: dict[str, int] = {}  # by study: a guess that spares a query
        self._latest: tuple[str, int, int] | None = None  # study, number and id of the trial that was asked for last

    @property
    def storage(self) -> BaseStorage:
        """Optuna's own storage object, for tools such as optuna-dashboard."""
        return self._rdb

    def close(self) -> None:
        """Give every connection back; the object can be used again afterwards."""
        self._rdb.remove_session()
        self._pool.dispose()
        self.engine.dispose()

    def create(
        self,
        name: str,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        metric: str,
        attrs: Mapping[str, Any],
        note: str | None,
        complete: bool = False,
    ) -> None:
        """Make the study, inside `create_lock`. SpecConflict: not `complete`, and a study has that name.

        metric: what the dashboard calls the value, such as "val_accuracy". attrs: JSON values for the study's page, in
        the order in which they are written. note: Markdown for the dashboard; a note that is there already stays.
        complete: it is there and ours, and what it lacks is added.
        """
        with self._faults(name), without_warnings():
            try:
                study = (optuna.load_study if complete else partial(optuna.create_study, direction=direction))(
                    study_name=name, storage=self._rdb
                )
            except optuna.exceptions.DuplicatedStudyError as error:  # made since its name was looked up
                raise ownership.foreign(self.engine, name) from error
            failpoint("study-named")
            for key, value in _lacking(study.user_attrs, attrs).items():
                study.set_user_attr(key, value)
            if study.metric_names != [metric]:
                study.set_metric_names([metric])
            study_id = self._rdb.get_study_id_from_name(name)
            if note and not trials.has_note(self._rdb, study_id):
                trials.save_note(self._rdb, study_id, note)

    @retry_transient()
    def publish(self, name: str, *, owner: ownership.Owner, note: str, plots: Mapping[str, str]) -> None:
        """Put a note and plots on a study's page of the dashboard, in place of those that we put there before.

        note: Markdown. plots: plotly figures as JSON, by name. StudyMissing: deleted, or another program's by now.
        """
        with self._faults(name):
            study_id = self._own_id(name, owner)
            trials.save_note(self._rdb, study_id, note)
            trials.save_plots(self._rdb, study_id, plots)

    @retry_transient()
    def ids(self) -> dict[str, int]:
        """Return the numbers of all studies by name, as the dashboard's pages have them; also those of other tools."""
        known = {}
        for name in self.names():
            with contextlib.suppress(KeyError), self._faults(""):  # deleted since it was listed
                known[name] = self._rdb.get_study_id_from_name(name)
        return known

    @retry_transient()
    def names(self) -> list[str]:
        """List all studies of the database, also those of other tools, in the order of their making."""
        with self._faults(""):
            return [study.study_name for study in self._rdb.get_all_studies()]

    @retry_transient()
    def delete(self, name: str) -> None:
        """Remove a study with its trials; nothing if it is gone already."""
        with self._faults(name), contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=self._rdb)

    @retry_transient(when=is_transient_or_full)
    def ask(
        self,
        study: str,
        space: Space,
        *,
        owner: ownership.Owner,
        params: Mapping[str, Any],
        attrs: Mapping[str, Any] | None = None,
    ) -> int:
        """Make a RUNNING trial with the given point of the space, complete at once; return its number.

        Never takes a trial that was enqueued: on SQLite two workers can take the same one. attrs: JSON values to store
        with the new trial, such as the task and the worker. ParametersRefused: `params` is not in the space.
        StudyMissing: the study was deleted, or is another program's by now. StudyMixed: another tool gave it trials
        whose parameters are of another kind.
        """
        check_params(space, params)
        with self._faults(study), without_warnings():
            study_id = self._own_id(study, owner)
            template = create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=sampler.distributions_of(space),
                user_attrs={**(attrs or {}), OWNER_ATTR: OWNER},  # so none can be taken for one of another tool
            )
            try:
                trial_id = self._rdb.create_new_trial(study_id, template)
            except ValueError as error:
                raise trials.mixed(self._url, study, error) from error
            failpoint("asking")
            number = self._number(study_id, trial_id, likely=self._next_number.get(study, 0))
            self._next_number[study] = number + 1
            self._latest = study, number, trial_id
            return number

    @retry_transient(when=is_transient_or_full)
    def tell(
        self,
        study: str,
        number: int,
        *,
        state: str,
        value: float | None,
        attrs: Mapping[str, Any],
        epoch_values: Sequence[float | None] = (),
        required: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the trial's attributes and its value per epoch, then finish it. Nothing if it is finished.

        Each write is a transaction, since Optuna has no public way to write several at once, and those of a finished
        trial cannot be changed. So ending the trial comes last, and any process that finds a half-written one RUNNING
        may write the same once more. StudyMissing: the study or the trial was deleted.

        state: "COMPLETE" (with a value), "PRUNED" or "FAIL" (without). epoch_values: from epoch 0; None: there is none.
        required: attributes that the trial was asked with. With others it is another one of that number, in a study
        that was deleted and made again: it is left alone.
        """
        ended = TrialState[state]
        values = trials.values_of(ended, value, epoch_values)
        # Ended by another process meanwhile: it stays as that one ended it.
        with self._faults(study, trial=number), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            trial_id = self._trial_id(study, number)
            present = self._rdb.get_trial_user_attrs(trial_id)
            if _lacking(present, required or {}):
                return
            for name, attr in _lacking(present, attrs).items():
                self._rdb.set_trial_user_attr(trial_id, name, attr)
            for epoch, reached in enumerate(epoch_values):
                if reached is not None:
                    self._rdb.set_trial_intermediate_value(trial_id, epoch, reached)
            failpoint("attributes")
            self._rdb.set_trial_state_values(trial_id, ended, values)

    def add(self, study: str, space: Space, ended: Sequence[EndedTrial]) -> None:
        """Give a new study its trials, numbered from 0 in this order, inside `create_lock`.

        ParametersRefused: the parameters of one are not in the space, or it has no value where one has to be.
        StudyMixed: another tool added trials meanwhile.
        """
        with self._faults(study), without_warnings():
            study_id = self._rdb.get_study_id_from_name(study)
            for number, trial in enumerate(ended):
                try:
                    trial_id = self._rdb.create_new_trial(study_id, trials.ended_trial(space, trial))
                except ValueError as error:
                    raise ParametersRefused(f"trial {number} of study {study}: {error}") from error
                if self._number(study_id, trial_id, likely=number) != number:
                    raise StudyMixed(f"study {study!r}: another tool adds trials to it at this moment; type it again")

    @retry_transient()
    def user_attrs(self, sweep: str) -> dict[str, dict[str, Any]]:
        """Return the attributes of each study that is called as one of this sweep would be, whosever it is."""
        known = {}
        for name in (name for name in self.names() if of_sweep(name, sweep)):
            with contextlib.suppress(StudyMissing), self._faults(name):  # deleted since it was listed
                known[name] = self._rdb.get_study_user_attrs(self._rdb.get_study_id_from_name(name))
        return known

    @retry_transient()
    def count_trials(self, study: str) -> int:
        """Return how many trials the study has, those of other tools included; 0 if it was deleted."""
        with contextlib.suppress(StudyMissing), self._faults(study):
            return self._rdb.get_n_trials(self._rdb.get_study_id_from_name(study))
        return 0

    @retry_transient()
    def is_untouched(self, study: str) -> bool:
        """Return whether a study is as Optuna makes it: no trial, no note, no name of its value."""
        with contextlib.suppress(StudyMissing), self._faults(study):
            study_id = self._rdb.get_study_id_from_name(study)
            return not (self._rdb.get_n_trials(study_id) or self._rdb.get_study_system_attrs(study_id))
        return False

    @retry_transient()
    def running(self, study: str) -> list[RunningTrial]:
        """Return the RUNNING trials of the study; StudyMissing if it was deleted."""
        with self._faults(study):
            study_id = self._rdb.get_study_id_from_name(study)
            running = self._rdb.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        marks = ((trial.number, trial.user_attrs) for trial in running)
        return [
            RunningTrial(number, attrs.get(OWNER_ATTR) == OWNER, attrs.get("task"), attrs.get("attempt"))
            for number, attrs in marks
        ]

    def _own_id(self, study: str, owner: ownership.Owner) -> int:
        # Asked each time: numbers of deleted studies are given again, so that no number tells whose a study is.
        study_id = self._rdb.get_study_id_from_name(study)
        if not owner.owns(study, self._rdb.get_study_user_attrs(study_id)):
            raise trials.replaced(self._url, study, owner.sweep)
        return study_id

    def _trial_id(self, study: str, number: int) -> int:
        if self._latest is not None and self._latest[:2] == (study, number):
            return self._latest[2]
        study_id = self._rdb.get_study_id_from_name(study)
        return self._rdb.get_trial_id_from_study_id_trial_number(study_id, number)

    def _number(self, study_id: int, trial_id: int, *, likely: int) -> int:
        # Optuna reads a whole trial, in six queries, to say its number; whether a number is that trial's takes one.
        with contextlib.suppress(KeyError):
            if self._rdb.get_trial_id_from_study_id_trial_number(study_id, likely) == trial_id:
                return likely
        return self._rdb.get_trial_number_from_id(trial_id)

    def _faults(self, study: str, *, trial: int | None = None) -> AbstractContextManager[None]:
        return trials.explain_faults(self._url, self.names, study, trial=trial)


def _lacking(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name not in present or present[name] != value}

"""`Studies`: open, create, draw, end; the only interface to Optuna's storage.

Optuna's trials are for display; our tasks are authoritative. So nothing here may stop a sweep: what another tool did to
a study (deleting it, adding trials) is ignored or reported in one line. Only public methods of Optuna are called
(docs/decisions/optuna-public-interface.md).
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
from optuna.trial import TrialState
from sqlalchemy import URL, Engine

from storage.db.engine import open_engine
from storage.db.transaction import is_refused_for_now, retry_transient
from storage.errors import NotAStorage, ParametersRefused, StudyMissing, StudyMixed
from storage.failpoints import failpoint
from storage.studies import ownership, trials
from storage.studies.space import MARK_ATTR, Mark, Trial, mark_of, of_sweep
from storage.url import masked, plain


def optuna_storage(engine: Engine, *, create: bool = False) -> RDBStorage:
    """Return Optuna's storage on the connections of an engine. create: make its tables.

    Optuna's constructor takes no engine, but passes a pool on to SQLAlchemy: so its own engine object borrows our
    connections, with our settings, and we can close them when the constructor fails.
    """
    return RDBStorage(
        plain(engine.url),
        engine_kwargs={"pool": engine.pool},
        skip_compatibility_check=True,  # `_check_version` has a better message
        skip_table_creation=not create,
    )


@retry_transient(when=is_refused_for_now)
def open_studies(url: URL, *, create: bool = False) -> "Studies":
    """Open the storage, with one pool of connections for our queries and for Optuna.

    create: make Optuna's tables (and a missing SQLite file); inside `storage.db.engine.create_lock`. NotAStorage: no
    storage, or tables of another Optuna. Unreachable: no server, no access, wrong password.
    """
    engine = open_engine(url, must_exist=not create)  # our checks first: their messages have remedies
    engine.dispose()  # SQLAlchemy prepares Optuna's engine when the pool connects for the first time
    # By default Optuna logs a line per trial, and its warnings are pages of SQL.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with trials.explain_faults(url, lambda: (), ""), without_warnings():
            rdb = optuna_storage(engine, create=create)
            _check_version(rdb, url)
    except BaseException:
        engine.dispose()
        raise
    return Studies(rdb, engine)


_DELETIONS = 20  # tries for one study; a mirror makes up to a hundred trials at once, any of which can interfere
_head: list[str] = []  # cached: Optuna reads 15 migration scripts to find it


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
    """Silence Optuna's warning that metric names are experimental: users cannot act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


class Studies:
    """The studies of one database; thread-safe."""

    def __init__(self, rdb: RDBStorage, engine: Engine) -> None:
        self._rdb = rdb
        self.engine = engine
        self._pool = engine.pool
        self._url = engine.url

    @property
    def storage(self) -> BaseStorage:
        """Optuna's own storage object, for tools such as optuna-dashboard."""
        return self._rdb

    def close(self) -> None:
        """Close every connection; the object can still be used afterwards."""
        self._rdb.remove_session()
        self._pool.dispose()  # not engine.dispose(), which would replace our pool but not that of Optuna's engine

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
        """Create the study, inside `create_lock`. SpecConflict: not `complete`, and a study has that name.

        metric: name of the value in the dashboard, such as "val_accuracy". attrs: JSON values, written in this order.
        note: Markdown for the dashboard; an existing note stays. complete: the study exists, and what it lacks is
        added.
        """
        with self._faults(name), without_warnings():
            try:
                study = (optuna.load_study if complete else partial(optuna.create_study, direction=direction))(
                    study_name=name, storage=self._rdb
                )
            except optuna.exceptions.DuplicatedStudyError as error:  # created since its name was checked
                raise ownership.foreign(self.engine, name) from error
            failpoint("study-named")
            present = study.user_attrs
            for key, value in attrs.items():
                if key not in present or present[key] != value:
                    study.set_user_attr(key, value)
            if study.metric_names != [metric]:
                study.set_metric_names([metric])
            study_id = self._rdb.get_study_id_from_name(name)
            if note and not trials.has_note(self._rdb, study_id):
                trials.save_note(self._rdb, study_id, note)

    @retry_transient()
    def publish(self, name: str, *, owner: ownership.Owner, note: str, plots: Mapping[str, str]) -> None:
        """Put a note and plots on a study's page of the dashboard, replacing earlier ones of ours.

        note: Markdown. plots: plotly figures as JSON, by name. StudyMissing: deleted, or replaced by another program's.
        """
        with self._faults(name):
            study_id = self._own_id(name, owner)
            trials.save_note(self._rdb, study_id, note)
            trials.save_plots(self._rdb, study_id, plots)

    @retry_transient()
    def ids(self) -> dict[str, int]:
        """Return the ids of all studies by name, those of other tools included; the dashboard's URLs contain them."""
        known = {}
        for name in self.names():
            with contextlib.suppress(KeyError), self._faults(""):  # deleted since it was listed
                known[name] = self._rdb.get_study_id_from_name(name)
        return known

    @retry_transient()
    def names(self) -> list[str]:
        """List all studies of the database, those of other tools included, oldest first."""
        with self._faults(""):
            return [study.study_name for study in self._rdb.get_all_studies()]

    @retry_transient()
    def delete(self, name: str) -> None:
        """Remove a study with its trials, if it exists."""
        with self._faults(name), contextlib.suppress(KeyError):
            # Repeat until it is gone: if a trial is added meanwhile, Optuna silently keeps the study.
            for _ in range(_DELETIONS):
                optuna.delete_study(study_name=name, storage=self._rdb)

    def draw(self, study: str, trial: Trial, *, likely: int) -> int:
        """Create a trial, RUNNING or ended, in one transaction; return its number.

        Never retried: after a fault, only `mark` tells whether it was created. likely: its number unless another tool
        adds a trial; a good guess saves five queries. ParametersRefused: its parameters are not in its space, or a
        value is missing. StudyMissing: the study was deleted. StudyMixed: another tool added trials whose parameters
        are of another kind.
        """
        with self._faults(study), without_warnings():
            study_id = self._rdb.get_study_id_from_name(study)
            try:
                template = trials.frozen(trial)
            except ValueError as error:
                raise ParametersRefused(f"trial {likely} of study {study}: {error}") from error
            try:
                trial_id = self._rdb.create_new_trial(study_id, template)
            except ValueError as error:
                raise trials.mixed(self._url, study, error) from error
            failpoint("drawing")
            with contextlib.suppress(KeyError):
                if self._rdb.get_trial_id_from_study_id_trial_number(study_id, likely) == trial_id:
                    return likely
            return self._rdb.get_trial_number_from_id(trial_id)

    def end(self, study: str, number: int, trial: Trial) -> None:
        """End a RUNNING trial, unless it has ended or carries another mark.

        Each write is a transaction, and an ended trial is immutable. So its state is written last, and a half-written
        RUNNING one can be ended again. StudyMissing: the study was deleted.
        """
        state = TrialState[trial.state]
        values = trials.values_of(state, trial.value, trial.epoch_values)
        with self._faults(study), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            trial_id = self._trial_id(study, number)
            present = {} if trial_id is None else self._rdb.get_trial_user_attrs(trial_id)
            if trial_id is None or not _is_same(mark_of(present), mark_of(trial.attrs)):
                return  # the study was deleted and recreated
            for name, attr in trial.attrs.items():
                if name not in present and name != MARK_ATTR:  # an older version stored the mark in another form
                    self._rdb.set_trial_user_attr(trial_id, name, attr)
            for epoch, reached in enumerate(trial.epoch_values):
                if reached is not None:
                    self._rdb.set_trial_intermediate_value(trial_id, epoch, reached)
            failpoint("attributes")
            self._rdb.set_trial_state_values(trial_id, state, values)

    def mark(self, study: str, number: int) -> tuple[Mark | None, bool] | None:
        """Return the mark of a trial, and whether it is RUNNING; None: there is no such trial."""
        with self._faults(study):
            if (trial_id := self._trial_id(study, number)) is None:
                return None
            trial = self._rdb.get_trial(trial_id)
            return mark_of(trial.user_attrs), trial.state == TrialState.RUNNING

    def _trial_id(self, study: str, number: int) -> int | None:
        study_id = self._rdb.get_study_id_from_name(study)
        try:
            return self._rdb.get_trial_id_from_study_id_trial_number(study_id, number)
        except KeyError:
            return None

    def add(self, study: str, ended: Sequence[Trial]) -> None:
        """Add the trials of a new study, numbered from 0 in this order, inside `create_lock`. Raises as `draw`."""
        for number, trial in enumerate(ended):
            if self.draw(study, trial, likely=number) != number:
                raise StudyMixed(f"study {study!r}: another tool is adding trials to it; type the command again")

    @retry_transient()
    def user_attrs(self, sweep: str) -> dict[str, dict[str, Any]]:
        """Return the attributes of each study with a name of this sweep, whoever created it."""
        known = {}
        for name in (name for name in self.names() if of_sweep(name, sweep)):
            with contextlib.suppress(StudyMissing), self._faults(name):  # deleted since
                known[name] = self._rdb.get_study_user_attrs(self._rdb.get_study_id_from_name(name))
        return known

    @retry_transient()
    def count_trials(self, study: str) -> int:
        """Return the number of trials, those of other tools included; 0 if the study was deleted."""
        with contextlib.suppress(StudyMissing), self._faults(study):
            return self._rdb.get_n_trials(self._rdb.get_study_id_from_name(study))
        return 0

    @retry_transient()
    def is_untouched(self, study: str) -> bool:
        """Return whether a study is as Optuna creates it: no trial, no note, no metric name."""
        with contextlib.suppress(StudyMissing), self._faults(study):
            study_id = self._rdb.get_study_id_from_name(study)
            return not (self._rdb.get_n_trials(study_id) or self._rdb.get_study_system_attrs(study_id))
        return False

    def check_own(self, study: str, owner: ownership.Owner) -> None:
        """Raise StudyMissing if a study was deleted, or replaced by another program's."""
        with self._faults(study):
            self._own_id(study, owner)

    def _own_id(self, study: str, owner: ownership.Owner) -> int:
        # Checked each time: ids of deleted studies are reused, so an id does not identify a study.
        study_id = self._rdb.get_study_id_from_name(study)
        if not owner.owns(study, self._rdb.get_study_user_attrs(study_id)):
            raise trials.replaced(self._url, study, owner.sweep)
        return study_id

    def _faults(self, study: str) -> AbstractContextManager[None]:
        return trials.explain_faults(self._url, self.names, study)


def _is_same(mark: Mark | None, other: Mark | None) -> bool:
    return mark is not None and other is not None and (mark.task, mark.attempt) == (other.task, other.attempt)

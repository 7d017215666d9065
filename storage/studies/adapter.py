"""Optuna's side of a sweep: make studies, ask for parameters, tell results.

Optuna proposes and is what people watch; our tasks decide and remember. So nothing here may stop a sweep for
good: what another tool did to a study (deleting it, adding trials) is one clear line or no matter.
"""

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import optuna
import sqlalchemy.exc
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy import URL, Engine

from storage.db.engine import engine_kwargs, open_engine
from storage.db.faults import RETRY_FOR_S, is_refused_for_now, retrying, retrying_for, translate
from storage.errors import NotAStorage, StudyMissing
from storage.failpoints import failpoint
from storage.studies.dashboard import has_note, save_note, save_plots
from storage.studies.sampler import distributions_of, propose
from storage.studies.space import Asked, RunningTrial, Space, check_params
from storage.studies.writes import Param, describe_trial, insert_trial
from storage.url import masked, plain

OWNER_ATTR = "asked_by"
OWNER = "kd-sweeps"


@retrying_for(RETRY_FOR_S, when=is_refused_for_now)
def open_studies(url: URL, *, create: bool = False) -> "Studies":
    """Optuna's storage in the same database, on the one engine of this process.

    Args:
        create: make Optuna's tables (and a missing SQLite file); inside `storage.db.engine.create_lock`.

    Raises:
        NotAStorage: nothing there, or tables of another Optuna.
        Unreachable: no server, no access, wrong password.
    """
    open_engine(url, must_exist=not create).dispose()  # our own checks first: their lines say what to type
    # Its default is a line per trial, and its warnings say with pages of SQL what we say in a line.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with _without_warnings():
            rdb = RDBStorage(
                plain(url),
                engine_kwargs=engine_kwargs(url, create=create),
                skip_compatibility_check=True,  # ours can close the connection before it complains
                skip_table_creation=not create,
            )
            _check_version(rdb, url)
    except optuna.exceptions.StorageInternalError as error:
        raise _readable(error, url) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise translate(error, url) from error
    return Studies(rdb, url)


class Studies:
    """The studies of one database. Safe to use from several threads."""

    def __init__(self, rdb: RDBStorage, url: URL) -> None:
        """See `open_studies`."""
        self._rdb = rdb
        self.engine: Engine = rdb.engine
        self._url = url
        # the cache keeps finished trials: without it each ask would read the whole study again
        self._storage: BaseStorage = optuna.storages.get_storage(rdb)

    @property
    def storage(self) -> BaseStorage:
        """Optuna's own storage object, for tools such as optuna-dashboard."""
        return self._storage

    def close(self) -> None:
        """Give every connection back; the object can be used again afterwards."""
        self._rdb.remove_session()
        self.engine.dispose()

    def create(
        self,
        name: str,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        metric: str,
        attrs: Mapping[str, Any],
        note: str | None,
    ) -> None:
        """Make the study, or complete what an interrupted creation left. Run it inside `create_lock`.

        Args:
            metric: what the dashboard calls the value, such as "val_accuracy".
            attrs: JSON values shown on the study's page.
            note: Markdown for the dashboard; a note that is there already stays.
        """
        with self._faults(name), _without_warnings():
            study = optuna.create_study(
                study_name=name,
                storage=self._storage,
                direction=direction,
                load_if_exists=True,
            )
            if study.metric_names != [metric]:
                study.set_metric_names([metric])
            present = study.user_attrs
            for key, value in attrs.items():
                if present.get(key) != value:
                    study.set_user_attr(key, value)
            study_id = self._storage.get_study_id_from_name(name)
            if note and not has_note(self._storage, study_id):
                save_note(self._storage, study_id, note)

    @retrying
    def publish(self, name: str, *, note: str, plots: Mapping[str, str]) -> None:
        """Put a note and plots on a study's page of the dashboard, in place of those that we put there before.

        Args:
            note: Markdown.
            plots: plotly figures as JSON, by name.
        """
        with self._faults(name):
            study_id = self._storage.get_study_id_from_name(name)
            save_note(self._storage, study_id, note)
            save_plots(self._storage, study_id, plots)

    @retrying
    def ids(self) -> dict[str, int]:
        """All studies of the database, also those of other tools, with the numbers that the dashboard's pages have."""
        with self._faults(""):
            return {study.study_name: study._study_id for study in self._storage.get_all_studies()}

    def names(self) -> list[str]:
        """All studies of the database, also those of other tools."""
        return list(self.ids())

    @retrying
    def delete(self, name: str) -> None:
        """Remove a study with its trials; nothing if it is gone already."""
        with self._faults(name), contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=self._storage)

    @retrying
    def ask(
        self,
        study: str,
        space: Space,
        *,
        params: Mapping[str, Any] | None,
        tpe_seed: int | None,
        history_attrs: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Asked:
        """A new RUNNING trial: with the given parameters, or with those that TPE proposes. It appears complete.

        Never takes a trial that somebody enqueued: on SQLite two workers can take the same one.

        Args:
            params: a whole point of the space, or None to let TPE propose.
            tpe_seed: seeds the proposal; the trials told so far decide too.
            history_attrs: TPE learns only from trials with these attributes (None: without that attribute), since
                several searches may share a study.
            attrs: JSON values to store with the new trial, such as the task and the worker.

        Raises:
            ParametersRefused: `params` is not in the space; no trial was made.
            StudyMissing: the study was deleted.
        """
        if params is not None:
            check_params(space, params)
        with self._faults(study), _without_warnings():
            point = self._proposal(study, space, tpe_seed, history_attrs or {}) if params is None else dict(params)
            stored = [
                Param(name, distribution.to_internal_repr(point[name]), distribution_to_json(distribution))
                for name, distribution in distributions_of(space).items()
            ]
            # With its mark from the first moment on: no trial of ours can be taken for one of another tool.
            return Asked(insert_trial(self.engine, study, stored, {**(attrs or {}), OWNER_ATTR: OWNER}), point)

    @retrying
    def tell(
        self,
        study: str,
        number: int,
        *,
        state: str,
        value: float | None,
        attrs: Mapping[str, Any],
        epoch_values: Sequence[float] = (),
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the trial's attributes and its value per epoch, then finish it. Nothing if it is finished.

        Attributes first: those of a finished trial cannot be changed. Telling twice is harmless, so
        whoever finds an unreported attempt may do it.

        Args:
            state: "COMPLETE" (with a value), "PRUNED" or "FAIL" (without).
            epoch_values: from epoch 0.
            asked: attributes that the trial was asked with. With others it is another one of that number, in a
                study that was deleted and made again: it is left alone.

        Raises:
            StudyMissing: the study or the trial was deleted.
        """
        values = _values(state, value, epoch_values)
        with self._faults(study, trial=number):
            trial_id = describe_trial(
                self.engine, study, number, attrs=attrs, epoch_values=epoch_values, asked=asked or {}
            )
            if trial_id is None:
                return
            failpoint("attributes")
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # somebody was faster
                self._storage.set_trial_state_values(trial_id, TrialState[state], values)

    @retrying
    def running(self, study: str) -> list[RunningTrial]:
        """The trials of the study that nobody has told yet.

        Raises:
            StudyMissing: the study was deleted.
        """
        with self._faults(study):
            study_id = self._storage.get_study_id_from_name(study)
            trials = self._storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
            return [
                RunningTrial(
                    trial.number,
                    ours=trial.user_attrs.get(OWNER_ATTR) == OWNER,
                    task=trial.user_attrs.get("task"),
                    attempt=trial.user_attrs.get("attempt"),
                )
                for trial in trials
            ]

    def _proposal(self, study: str, space: Space, seed: int | None, history_attrs: Mapping[str, Any]) -> dict[str, Any]:
        study_id = self._storage.get_study_id_from_name(study)
        trials = [
            trial
            for trial in self._storage.get_all_trials(study_id, deepcopy=False)
            if all(trial.user_attrs.get(key) == value for key, value in history_attrs.items())
        ]
        return propose(space, trials, directions=self._storage.get_study_directions(study_id), seed=seed)

    @contextlib.contextmanager
    def _faults(self, study: str, *, trial: int | None = None) -> Iterator[None]:
        """Optuna's errors as ours; what may pass by itself keeps its cause, so that `retrying` sees it."""
        try:
            yield
        except optuna.exceptions.StorageInternalError as error:
            raise _readable(error, self._url) from error
        except (KeyError, ValueError, sqlalchemy.exc.IntegrityError) as error:
            if study and study not in self.names():
                raise StudyMissing(self._missing(study, "it")) from error
            if trial is not None and isinstance(error, KeyError):
                raise StudyMissing(self._missing(study, f"its trial {trial}")) from error
            raise
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise translate(error, self._url) from error

    def _missing(self, study: str, what: str) -> str:
        sweep = study.split(".")[0]
        return (
            f"study {study!r} in {masked(self._url)}: {what} was deleted (optuna-dashboard can do that); the"
            f" tasks and results are still there, see: kd-sweeps report {sweep}; to go on with a new study,"
            f" type: kd-sweeps create {sweep}"
        )


def _check_version(rdb: RDBStorage, url: URL) -> None:
    found, needed = rdb.get_current_version(), rdb.get_head_version()
    if found == needed:
        return
    known = found in rdb.get_all_versions()
    rdb.engine.dispose()
    cure = f"type: optuna storage upgrade --storage {masked(url)}" if known else "upgrade Optuna here"
    raise NotAStorage(f"{masked(url)} has Optuna tables of version {found}, but {needed} is needed; {cure}")


def _values(state: str, value: float | None, epoch_values: Sequence[float]) -> list[float] | None:
    """What a trial of that state is worth, as `Study.tell` has it: a pruned one what it had reached."""
    if state == "FAIL":
        return None
    if state == "PRUNED":
        reached = [epoch_value for epoch_value in epoch_values[-1:] if not math.isnan(epoch_value)]
        return reached or None
    if value is None or math.isnan(value):
        raise ValueError(f"a COMPLETE trial needs a value, got {value!r}")
    return [float(value)]


def _readable(error: optuna.exceptions.StorageInternalError, url: URL) -> Exception:
    """Optuna says only that "an exception is raised during the commit"; its cause knows which."""
    cause = error.__cause__
    if not isinstance(cause, sqlalchemy.exc.SQLAlchemyError):
        return error
    translated = translate(cause, url)
    return error if translated is cause else translated


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Optuna warns that metric names are experimental: nothing that a user of ours can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield

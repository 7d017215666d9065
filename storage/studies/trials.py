"""Make a trial of ours and write its result, by the methods of Optuna's storage that are public."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from storage.failpoints import failpoint
from storage.studies.names import OWNER, OWNER_ATTR
from storage.studies.sampler import distributions_of
from storage.studies.space import EndedTrial, Space


def make_trial(
    storage: BaseStorage,
    study_id: int,
    space: Space,
    params: Mapping[str, Any],
    attrs: Mapping[str, Any],
    *,
    likely_number: int,
) -> tuple[int, int]:
    """Make a RUNNING trial, complete with its parameters and attributes, in one transaction.

    Args:
        attrs: JSON values. The mark of our trials is added: none can be taken for one of another tool.
        likely_number: the next one of the study, as far as is known here.

    Returns:
        Its id, and its number within the study. Optuna counts under a lock, so each number is given once.

    Raises:
        KeyError: no study of that id.
        ValueError: the study has a trial whose parameter of such a name is of another kind.
    """
    template = create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions=distributions_of(space),
        user_attrs={**attrs, OWNER_ATTR: OWNER},
    )
    trial_id = storage.create_new_trial(study_id, template)
    failpoint("asking")
    return trial_id, _number(storage, study_id, trial_id, likely_number)


def add_trial(storage: BaseStorage, study_id: int, space: Space, trial: EndedTrial, *, likely_number: int) -> int:
    """Make a trial of ours that has ended, complete, in one transaction.

    Args:
        likely_number: the next one of the study, as far as is known here.

    Returns:
        Its number within the study.

    Raises:
        ValueError: its parameters are not in the space, or a COMPLETE one has no value.
    """
    state = TrialState[trial.state]
    distributions = distributions_of(space)
    template = create_trial(
        state=state,
        values=values_of(state, trial.value, trial.epoch_values),
        params=dict(trial.params),
        distributions={name: distributions[name] for name in trial.params if name in distributions},
        user_attrs={**trial.attrs, OWNER_ATTR: OWNER},
        intermediate_values={epoch: value for epoch, value in enumerate(trial.epoch_values) if value is not None},
    )
    # As Optuna writes them: in the time of this machine, without its zone.
    template.datetime_start = datetime.fromtimestamp(trial.started_at)
    template.datetime_complete = datetime.fromtimestamp(trial.ended_at)
    return _number(storage, study_id, storage.create_new_trial(study_id, template), likely_number)


def _number(storage: BaseStorage, study_id: int, trial_id: int, likely: int) -> int:
    # Optuna reads a whole trial, in six queries, to say its number; whether a number is that trial's takes one.
    with contextlib.suppress(KeyError):
        if storage.get_trial_id_from_study_id_trial_number(study_id, likely) == trial_id:
            return likely
    return storage.get_trial_number_from_id(trial_id)


def report_trial(
    storage: BaseStorage,
    trial_id: int,
    *,
    state: TrialState,
    values: Sequence[float] | None,
    attrs: Mapping[str, Any],
    epoch_values: Sequence[float | None],
    asked: Mapping[str, Any],
) -> None:
    """Write what the trial lacks of these attributes and epoch values, then end it.

    Each write is a transaction, since Optuna has no public way to write several at once. So ending the trial comes
    last, and whoever finds a half-written one RUNNING writes the same once more.

    Args:
        attrs: JSON values by name.
        epoch_values: from epoch 0; None: nothing is written for that epoch.
        asked: attributes that the trial has to have: a number alone does not name it, since a study that was
            deleted and made again counts from 0 again.

    Raises:
        KeyError: no such trial.
        optuna.exceptions.UpdateFinishedTrialError: it has ended; nothing more was written.
    """
    present = storage.get_trial_user_attrs(trial_id)
    if any(name not in present or present[name] != value for name, value in asked.items()):
        return
    for name, value in attrs.items():
        if name not in present or present[name] != value:
            storage.set_trial_user_attr(trial_id, name, value)
    for epoch, value in enumerate(epoch_values):
        if value is not None:
            storage.set_trial_intermediate_value(trial_id, epoch, value)
    failpoint("attributes")
    storage.set_trial_state_values(trial_id, state, values)


def values_of(state: TrialState, value: float | None, epoch_values: Sequence[float | None]) -> list[float] | None:
    """Return what a trial of that state is worth, as `Study.tell` has it: a pruned one what it had reached.

    Raises:
        ValueError: a COMPLETE trial without a value.
    """
    if state == TrialState.FAIL:
        return None
    if state == TrialState.PRUNED:
        reached = [epoch_value for epoch_value in epoch_values if epoch_value is not None][-1:]
        return reached if reached and not math.isnan(reached[0]) else None
    if value is None or math.isnan(value):
        raise ValueError(f"a COMPLETE trial needs a value, got {value!r}")
    return [float(value)]

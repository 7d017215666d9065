"""Our trials, written straight into Optuna's tables: made in one transaction, described in another.

Optuna itself takes a dozen statements to make a trial, and then a transaction for each parameter, each attribute and
each epoch: most of the time that a trial would cost. How a trial ends is told by Optuna alone
(`storage.studies.adapter`).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, func, insert, select

from storage.db.dialects import insert_into
from storage.db.transaction import write
from storage.failpoints import failpoint
from storage.studies.tables import attrs as attr_table
from storage.studies.tables import epoch_values as epoch_table
from storage.studies.tables import params as param_table
from storage.studies.tables import studies, trials


@dataclass(frozen=True)
class Param:
    """A parameter as Optuna stores it: every value as a number, and the distribution that says what it means."""

    name: str
    value: float
    distribution: str


def insert_trial(engine: Engine, study: str, params: Iterable[Param], attrs: Mapping[str, Any]) -> int:
    """Make a RUNNING trial, complete with its parameters and attributes (JSON values).

    Returns:
        Its number within the study.

    Raises:
        KeyError: no study of that name.
    """
    with write(engine) as connection:
        # Under this lock Optuna counts, too: each number is given once, whoever makes trials beside us.
        study_id = connection.scalar(select(studies.c.study_id).where(studies.c.study_name == study).with_for_update())
        if study_id is None:
            raise KeyError(f"no study {study!r}")
        number = connection.scalar(select(func.count()).select_from(trials).where(trials.c.study_id == study_id)) or 0
        started = datetime.now(UTC).replace(tzinfo=None)  # Optuna stores UTC, and no zone
        trial_id = connection.execute(
            insert(trials)
            .values(study_id=study_id, number=number, state="RUNNING", datetime_start=started)
            .returning(trials.c.trial_id)
        ).scalar_one()
        rows = [
            {"param_name": param.name, "param_value": param.value, "distribution_json": param.distribution}
            for param in params
        ]
        _upsert(connection, param_table, "param_name", trial_id, rows)
        _upsert(connection, attr_table, "key", trial_id, _attr_rows(attrs))
        failpoint("asking")
        return number


def describe_trial(
    engine: Engine,
    study: str,
    number: int,
    *,
    attrs: Mapping[str, Any],
    epoch_values: Sequence[float],
    asked: Mapping[str, Any],
) -> int | None:
    """Write the attributes and the value per epoch of a RUNNING trial. The same again changes nothing.

    Args:
        attrs: JSON values by name.
        epoch_values: from epoch 0.
        asked: attributes that the trial has to have: a number alone does not name it, since a study that was
            deleted and made again counts from 0 again.

    Returns:
        The trial's id. None: it has ended, or was asked for with other attributes; nothing was written.

    Raises:
        KeyError: no study of that name, or no such trial in it.
    """
    with write(engine) as connection:
        trial = _locked(connection, study, number)
        if trial.state != "RUNNING" or not _was_asked(connection, trial.trial_id, asked):
            return None
        _upsert(connection, attr_table, "key", trial.trial_id, _attr_rows(attrs))
        rows = [{"step": epoch} | _epoch_value(value) for epoch, value in enumerate(epoch_values)]
        _upsert(connection, epoch_table, "step", trial.trial_id, rows)
        return int(trial.trial_id)


def _locked(connection: Connection, study: str, number: int) -> Row[Any, Any]:
    """The trial, which nobody ends or deletes before this transaction is over."""
    trial = connection.execute(
        select(trials.c.trial_id, trials.c.state)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .where(studies.c.study_name == study, trials.c.number == number)
        .with_for_update(of=trials, key_share=True)
    ).one_or_none()
    if trial is None:
        raise KeyError(f"no trial {number} in a study {study!r}")
    return trial


def _was_asked(connection: Connection, trial_id: int, asked: Mapping[str, Any]) -> bool:
    query = select(attr_table.c.key, attr_table.c.value_json)
    stored = connection.execute(query.where(attr_table.c.trial_id == trial_id, attr_table.c.key.in_(asked))).all()
    return {row.key: json.loads(row.value_json) for row in stored} == dict(asked)


def _attr_rows(attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]


def _epoch_value(value: float) -> dict[str, Any]:
    """As Optuna stores it: no database takes every float, so what is not finite becomes a word."""
    word = "NAN" if math.isnan(value) else "FINITE" if math.isfinite(value) else "INF_POS" if value > 0 else "INF_NEG"
    return {"intermediate_value": float(value) if word == "FINITE" else None, "intermediate_value_type": word}


def _upsert(connection: Connection, table: Table, key: str, trial_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of one trial, in place of those that have the same `key`."""
    if not rows:
        return
    statement = insert_into(connection, table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name != key}
    statement = statement.on_conflict_do_update(index_elements=["trial_id", key], set_=replaced)
    connection.execute(statement, [{"trial_id": trial_id} | row for row in rows])

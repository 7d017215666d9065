"""Read Optuna's trials from its tables, without importing Optuna: an audit must start fast and change nothing.

Only the audit reads these tables, nobody writes them. The columns are those of `optuna/storages/_rdb/models.py` in the
schema version below; tables of any other version are refused.
"""

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Double, Integer, MetaData, String, Table, Text, select
from sqlalchemy.types import NullType

from storage import json_text
from storage.errors import NotAStorage
from storage.studies.names import OWNER, OWNER_ATTR
from storage.studies.ownership import Owner
from storage.url import masked

TESTED_VERSION = "v3.2.0.a"  # of Optuna 5.0, as its table alembic_version has it
FINISHED = ("COMPLETE", "PRUNED")

# On Postgres an enum of Optuna's: what is read is text. It cannot be compared with text in SQL, only in Python.
_Enum = NullType

_metadata = MetaData()
_alembic_version = Table("alembic_version", _metadata, Column("version_num", String))
_studies = Table("studies", _metadata, Column("study_id", Integer), Column("study_name", String))
_study_attrs = Table(
    "study_user_attributes",
    _metadata,
    Column("study_id", Integer),
    Column("key", String),
    Column("value_json", Text),
)
_trials = Table(
    "trials",
    _metadata,
    Column("trial_id", Integer),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", _Enum),
)
_values = Table(
    "trial_values",
    _metadata,
    Column("trial_id", Integer),
    Column("objective", Integer),
    Column("value", Double),
    Column("value_type", _Enum),
)
_params = Table(
    "trial_params",
    _metadata,
    Column("trial_id", Integer),
    Column("param_name", String),
    Column("param_value", Double),
    Column("distribution_json", Text),
)
_attrs = Table(
    "trial_user_attributes",
    _metadata,
    Column("trial_id", Integer),
    Column("key", String),
    Column("value_json", Text),
)


@dataclass(frozen=True)
class TrialRow:
    """One trial. `value` is None where there is none; `state` is RUNNING, COMPLETE, PRUNED, FAIL or WAITING.

    Attributes:
        ours: this package asked for it, not another tool.
        task, attempt, retry_of: what ours say of themselves: the attempt that asked for them.
    """

    study: str
    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    ours: bool
    task: str
    attempt: int | None
    retry_of: int | None

    @property
    def finished(self) -> bool:
        """Return whether it counts as a result."""
        return self.state in FINISHED

    def __str__(self) -> str:
        """Name the trial as a line of the audit does."""
        return f"trial {self.number} of study {self.study}"


def read_trials(
    connection: Connection, studies: Collection[str], owner: Owner
) -> tuple[dict[str, list[TrialRow]], list[str]]:
    """Return the trials of those of the named studies that are there, by study and in the order of their numbers.

    And the names that studies of other programs have by now, which are not read. Seven queries, however many trials.
    Raises as `storage.db.transaction.read` does when a table is missing.

    Raises:
        NotAStorage: the tables are of a version that this was not tested with.
    """
    _check_version(connection)
    known = connection.execute(
        select(_studies.c.study_id, _studies.c.study_name).where(_studies.c.study_name.in_(studies))
    ).all()
    own: dict[int, dict[str, Any]] = {row.study_id: {} for row in known}
    for row in connection.execute(select(_study_attrs).where(_study_attrs.c.study_id.in_(own))):
        own[row.study_id][row.key] = _decoded(row.value_json)
    names = {row.study_id: row.study_name for row in known if owner.owns(row.study_name, own[row.study_id])}
    of_these = select(_trials.c.trial_id).where(_trials.c.study_id.in_(names)).scalar_subquery()

    values: dict[int, float | None] = {}
    query = select(_values.c.trial_id, _values.c.value, _values.c.value_type).where(_values.c.objective == 0)
    for row in connection.execute(query.where(_values.c.trial_id.in_(of_these))):
        values[row.trial_id] = {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(row.value_type, row.value)

    params: dict[int, dict[str, Any]] = defaultdict(dict)
    distributions: dict[str, Any] = {}  # a few texts, each stored with every trial
    for param in connection.execute(select(_params).where(_params.c.trial_id.in_(of_these))):
        text = param.distribution_json
        if text not in distributions:
            distributions[text] = _decoded(text)
        params[param.trial_id][param.param_name] = _external(param.param_value, distributions[text])

    attrs: dict[int, dict[str, Any]] = defaultdict(dict)
    marks = _attrs.c.key.in_((OWNER_ATTR, "task", "attempt", "retry_of"))
    for attr in connection.execute(select(_attrs).where(marks, _attrs.c.trial_id.in_(of_these))):
        attrs[attr.trial_id][attr.key] = _decoded(attr.value_json)

    found: dict[str, list[TrialRow]] = {name: [] for name in sorted(names.values())}
    trials = select(_trials).where(_trials.c.study_id.in_(names)).order_by(_trials.c.number, _trials.c.trial_id)
    for trial in connection.execute(trials):
        said = attrs.get(trial.trial_id, {})
        found[names[trial.study_id]].append(
            TrialRow(
                study=names[trial.study_id],
                number=trial.number,
                state=trial.state,
                value=values.get(trial.trial_id),
                params=params.get(trial.trial_id, {}),
                ours=said.get(OWNER_ATTR) == OWNER,
                task=str(said.get("task")),
                attempt=said.get("attempt"),
                retry_of=said.get("retry_of"),
            )
        )
    return found, [row.study_name for row in known if row.study_id not in names]


def _check_version(connection: Connection) -> None:
    found = connection.scalar(select(_alembic_version.c.version_num))
    if found != TESTED_VERSION:
        raise NotAStorage(
            f"{masked(connection.engine.url)} has Optuna tables of version {found}, but the audit was tested with"
            f" {TESTED_VERSION} only: install the kd-sweeps that belongs to this Optuna"
        )


def _external(value: float, distribution: Any) -> Any:
    """Return a parameter as it was suggested; Optuna stores each as a float. A damaged one stays as it is stored."""
    try:
        if distribution["name"] == "CategoricalDistribution":
            return distribution["attributes"]["choices"][int(value)]
    except (TypeError, KeyError, IndexError, ValueError):
        pass
    return value


def _decoded(text: str | None) -> Any:
    """Return a value of JSON; None for text that is none, so that a damaged mark is no mark."""
    try:
        return json_text.parse(text or "null")
    except ValueError:
        return None

"""Optuna's trials read from its tables, without importing Optuna: an audit must start fast and change nothing."""

import json
import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from storage.studies.tables import attrs as _attrs
from storage.studies.tables import params as _params
from storage.studies.tables import studies as _studies
from storage.studies.tables import trials as _trials
from storage.studies.tables import values as _values

FINISHED = ("COMPLETE", "PRUNED")
_OURS = "kd-sweeps"  # what storage.studies.adapter writes as asked_by


@dataclass(frozen=True)
class TrialRow:
    """A trial. `value` is None where there is none; `state` is RUNNING, COMPLETE, PRUNED, FAIL or WAITING.

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
        """Whether it counts as a result."""
        return self.state in FINISHED

    def __str__(self) -> str:
        """As a line of the audit names it."""
        return f"trial {self.number} of study {self.study}"


def read_trials(connection: Connection, studies: Collection[str]) -> dict[str, list[TrialRow]]:
    """The trials of those of the named studies that are there, by study and in the order of their numbers.

    Five queries, however many trials. Raises as `storage.db.transaction.read` does when a table is missing.
    """
    known = connection.execute(
        select(_studies.c.study_id, _studies.c.study_name).where(_studies.c.study_name.in_(studies))
    ).all()
    names = {row.study_id: row.study_name for row in known}
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
    marks = _attrs.c.key.in_(("asked_by", "task", "attempt", "retry_of"))
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
                ours=said.get("asked_by") == _OURS,
                task=str(said.get("task")),
                attempt=said.get("attempt"),
                retry_of=said.get("retry_of"),
            )
        )
    return found


def _external(value: float, distribution: Any) -> Any:
    """A parameter as it was suggested; Optuna stores every one as a float. A damaged one stays as it is stored."""
    try:
        if distribution["name"] == "CategoricalDistribution":
            return distribution["attributes"]["choices"][int(value)]
    except (TypeError, KeyError, IndexError, ValueError):
        pass
    return value


def _decoded(text: str | None) -> Any:
    """A value of JSON; None for what is none, so that a damaged mark is no mark."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return None

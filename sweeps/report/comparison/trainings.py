"""Every finished training of several sweeps, one line each: for R, pandas and spreadsheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.plan.names import repeat_of
from sweeps.query.listing import TrialRow
from sweeps.spec.model import Spec

_FIRST = ("sweep", "task", "dataset", "role", "stage", "arm", "repeat", "seed", "temperature", "alpha")
_LAST = ("val_accuracy", "test_accuracy", "train_s", "cpu_s")
_NOT_TRAINED = "measure"  # the one stage whose tasks train nothing


def long_csv(sweeps: Sequence[tuple[str, Spec, Sequence[TrialRow]]]) -> str:
    """Return one line for each finished training, by sweep and in the order of the plan.

    Accuracies are fractions in [0, 1], times seconds. What is searched beyond T and alpha has a column each, between
    alpha and val_accuracy. repeat: of confirm and transfer. A cell is empty where there is no such thing, and
    test_accuracy until the look at that dataset is complete.

    Args:
        sweeps: name, spec and tasks of each.
    """
    rows = [_line(name, spec, row) for name, spec, found in sweeps for row in found if _is_training(row)]
    more = list(dict.fromkeys(key for row in rows for key in row if key not in (*_FIRST, *_LAST)))
    out = io.StringIO()
    writer = csv.DictWriter(out, (*_FIRST, *more, *_LAST), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _is_training(row: TrialRow) -> bool:
    return row.state == "done" and row.stage != _NOT_TRAINED


def _line(name: str, spec: Spec, row: TrialRow) -> Mapping[str, Any]:
    roles = {spec.role(role).dataset: role for role in spec.roles}
    return {
        "sweep": name,
        "role": roles.get(row.dataset or ""),
        "repeat": repeat_of(row.task),
        "val_accuracy": row.score,
        **{key: getattr(row, key) for key in (*_FIRST, *_LAST) if hasattr(row, key)},
        **row.more,
    }

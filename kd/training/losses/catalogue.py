"""Describe every loss: its formula, its own parameters, their usual ranges, and where it comes from.

Nothing here imports Keras or TensorFlow: a spec is checked by a command that must start at once.

Every loss is alpha*CE(labels) + (1-alpha)*term with alpha in [0, 1]. A paper that writes a*CE + b*term is this loss
with alpha = a/(a+b), a+b times as large. Adam divides by the size of the gradients, so a constant factor changes its
steps only through its epsilon, 1e-7.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeAlias

from kd.config import LOSS_FORMULA
from kd.errors import ModelError

Tensor: TypeAlias = Any  # of any Keras backend, or a NumPy array
Term: TypeAlias = Callable[..., Tensor]  # (labels, teacher_logits, student_logits, *, temperature, **own) -> scalar

_LABELS = "alpha*CE(labels) + (1-alpha)*"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number that a loss has beside T and alpha.

    Args:
        name: as in the term's signature and in a spec's search space.
        low, high: the usual range to search; -inf and inf where only the author of the loss knows it.
        default: the value where none is given.
        log: whether to search its logarithm.
        meaning: half a sentence; empty for a loss of a user's own.
    """

    name: str
    low: float
    high: float
    default: float
    log: bool
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss, described.

    Args:
        name: as in a spec: a key of `LOSSES`, or "package.module:function" or "./file.py:function".
        formula: the whole loss in this project's form; of a user's own, with the first line of its docstring.
        source: the paper; empty for a user's own.
        parameters: its own, without T and alpha.
        default_temperature, default_alpha: the point of the paper or of its authors' code.
        temperature_range: usual, (low, high) with 0 < low <= high.
        uses_temperature: False where T changes nothing; its default and its range are then 1.
    """

    name: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    default_temperature: float = 4.0
    default_alpha: float = 0.1
    temperature_range: tuple[float, float] = (1.0, 20.0)
    uses_temperature: bool = True

    def values(self, own: Mapping[str, float]) -> dict[str, float]:
        """Return the value of each own parameter, in the order of `parameters`: the one given, else its default.

        Raises:
            ValueError: the loss has no parameter of such a name, or a value is not finite.
        """
        known = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(own) - set(known)):
            has = f"its own are {', '.join(known)}" if known else "it has none of its own"
            raise ValueError(f"loss {self.name!r} has no parameter {unknown[0]!r}; {has}")
        if bad := [name for name, value in own.items() if not math.isfinite(value)]:
            raise ValueError(f"{bad[0]} must be finite, got {own[bad[0]]!r}")
        return {parameter.name: float(own.get(parameter.name, parameter.default)) for parameter in self.parameters}


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            Loss(
                name="kd",
                formula=LOSS_FORMULA,
                source="Hinton et al. 2015, arXiv:1503.02531",
            ),
            Loss(
                name="mse",
                formula=f"{_LABELS}mean((student - teacher)^2)",
                source="Kim et al. 2021, arXiv:2105.08919",
                default_temperature=1.0,
                default_alpha=0.0,
                temperature_range=(1.0, 1.0),
                uses_temperature=False,
            ),
            Loss(
                name="logit-standardization",
                formula=f"{_LABELS}T^2*KL(teacher'_T || student'_T), z' = (z - mean(z))/sd(z)",
                source="Sun et al. 2024, arXiv:2403.01427",
                default_temperature=2.0,
                default_alpha=0.1 / 9.1,
                temperature_range=(1.0, 6.0),
            ),
            Loss(
                name="dkd",
                formula=f"{_LABELS}T^2*(target_weight*TCKD + nontarget_weight*NCKD)",
                source="Zhao et al. 2022, arXiv:2203.08679",
                parameters=(
                    Parameter(
                        name="target_weight",
                        low=0.2,
                        high=4.0,
                        default=1.0,
                        log=True,
                        meaning="of TCKD, the KL of the label against all other classes; the paper's alpha",
                    ),
                    Parameter(
                        name="nontarget_weight",
                        low=1.0,
                        high=10.0,
                        default=8.0,
                        log=True,
                        meaning="of NCKD, the KL among the other classes; the paper's beta",
                    ),
                ),
                default_alpha=0.5,
                temperature_range=(1.0, 10.0),
            ),
            Loss(
                name="nkd",
                formula=f"{_LABELS}(-teacher[label]*log(student[label]) + gamma*T^2*CE(N(teacher)_T, N(student)_T))",
                source="Yang et al. 2023, arXiv:2303.13005",
                parameters=(
                    Parameter(
                        name="gamma",
                        low=0.5,
                        high=3.0,
                        default=1.5,
                        log=True,
                        meaning="weight of the other classes, normalised without the label",
                    ),
                ),
                default_temperature=1.0,
                default_alpha=0.5,
                temperature_range=(1.0, 6.0),
            ),
            Loss(
                name="dist",
                formula=f"{_LABELS}T^2*(inter_weight*(1 - r over classes) + intra_weight*(1 - r over the batch))",
                source="Huang et al. 2022, arXiv:2205.10536",
                parameters=(
                    Parameter(
                        name="inter_weight",
                        low=0.5,
                        high=4.0,
                        default=1.0,
                        log=True,
                        meaning="of the correlation over the classes of each image; the paper's beta",
                    ),
                    Parameter(
                        name="intra_weight",
                        low=0.5,
                        high=4.0,
                        default=1.0,
                        log=True,
                        meaning="of the correlation over the images of a batch, for each class; the paper's gamma",
                    ),
                ),
                default_temperature=1.0,
                default_alpha=0.5,
                temperature_range=(1.0, 8.0),
            ),
        )
    }
)

_FILES = {
    "kd": "hinton",
    "mse": "squared_error",
    "logit-standardization": "standardization",
    "dkd": "decoupled",
    "nkd": "normalized",
    "dist": "relations",
}


def is_users(name: str) -> bool:
    """Return whether a loss is of a user's own: "package.module:function" or "./file.py:function"."""
    return ":" in name


def loss_named(name: str) -> Loss:
    """Return the description of a loss. A user's own is imported for it, see `is_users`; a built-in one is not.

    Raises:
        ModelError: there is no such loss, or a user's own cannot be imported or called as one.
    """
    if is_users(name):
        from kd.training.losses.users import described

        return described(name)
    if name not in LOSSES:
        close = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ModelError(
            f"no loss {name!r}{hint} Losses: {', '.join(LOSSES)}, or your own as package.module:function or"
            " ./file.py:function"
        )
    return LOSSES[name]


def term_of(name: str) -> Term:
    """Return the distillation term of a loss, a function (labels, teacher_logits, student_logits, *, temperature,
    **own parameters) -> scalar; Keras is imported here.

    Raises:
        ModelError: as for `loss_named`.
    """
    if is_users(name):
        from kd.training.losses.users import users_term

        return users_term(name)
    term: Term = import_module(f"kd.training.losses.{_FILES[loss_named(name).name]}").term
    return term

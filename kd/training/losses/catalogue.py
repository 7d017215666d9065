"""Describe every built-in loss: its formula, its own parameters, their usual ranges, and where it comes from.

Nothing here imports Keras or TensorFlow: a spec is checked by a command that must start at once.

Every loss is alpha*CE(labels) + (1-alpha)*term with alpha in [0, 1]. A paper that writes a*CE + b*term is this loss
with alpha = a/(a+b), a+b times as large. Adam divides by the size of the gradients, so a constant factor changes its
steps only through its epsilon, 1e-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kd.config import LOSS_FORMULA
from kd.training.losses.description import Loss, Parameter

_LABELS = "alpha*CE(labels) + (1-alpha)*"

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


def is_users(name: str) -> bool:
    """Return whether a loss is of a user's own: "package.module:function" or "./file.py:function"."""
    return ":" in name

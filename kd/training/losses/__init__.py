"""Define the losses that a student can be trained with; importing this imports neither Keras nor TensorFlow.

Every loss is alpha*CE(labels) + (1-alpha)*term. `catalogue` describes the built-in ones, one file each computes a
term, `users` reads a loss of a user's own, `trial` tries it, and `named` finds either by its name. What needs Keras is
imported at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kd.training.losses.catalogue import LOSSES, is_users
from kd.training.losses.description import Loss, Parameter, Tensor, Term
from kd.training.losses.named import loss_named, term_of

if TYPE_CHECKING:
    from kd.training.losses.hinton import distillation_loss, hard_label_loss, soft_target_loss
    from kd.training.losses.trial import check_users_loss

__all__ = [
    "LOSSES",
    "Loss",
    "Parameter",
    "Tensor",
    "Term",
    "check_users_loss",
    "distillation_loss",
    "hard_label_loss",
    "is_users",
    "loss_named",
    "soft_target_loss",
    "term_of",
]

_HOME = {
    "check_users_loss": "trial",
    "distillation_loss": "hinton",
    "hard_label_loss": "hinton",
    "soft_target_loss": "hinton",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kd.training.losses' has no attribute {name!r}")
    return getattr(import_module(f"kd.training.losses.{_HOME[name]}"), name)

"""Find the losses that a student can be trained with; importing this imports neither Keras nor TensorFlow.

Every loss is alpha*CE(labels) + (1-alpha)*term. `builtin` holds the built-in ones, `custom` reads one of your own, and
`trial` tries it.
"""

import difflib

from kd.errors import ModelError
from kd.losses.builtin import LOSSES, TERMS
from kd.losses.custom import described, users_term
from kd.losses.loss import (
    Loss,
    Parameter,
    Tensor,
    Term,
    distillation_loss,
    hard_label_loss,
    is_users,
    soft_target_loss,
)


def loss_named(name: str) -> Loss:
    """Return the description of a loss. A user's own is imported for it, see `is_users`; a built-in one is not.

    Raises:
        ModelError: there is no such loss, or a user's own cannot be imported or called as one.
    """
    if is_users(name):
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
    **own parameters) -> scalar;

    Raises:
        ModelError: as for `loss_named`.
    """
    if is_users(name):
        return users_term(name)
    return TERMS[loss_named(name).name]


__all__ = [
    "LOSSES",
    "Loss",
    "Parameter",
    "Tensor",
    "Term",
    "distillation_loss",
    "hard_label_loss",
    "is_users",
    "loss_named",
    "soft_target_loss",
    "term_of",
]

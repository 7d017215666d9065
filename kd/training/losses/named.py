"""Find a loss by its name: its description, and its term as a function. A user's own is imported for that."""

from __future__ import annotations

import difflib
from importlib import import_module

from kd.errors import ModelError
from kd.training.losses.catalogue import LOSSES, is_users
from kd.training.losses.description import Loss, Term
from kd.training.losses.users import described, users_term

_FILES = {
    "kd": "hinton",
    "mse": "squared_error",
    "logit-standardization": "standardization",
    "dkd": "decoupled",
    "nkd": "normalized",
    "dist": "relations",
}


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
    **own parameters) -> scalar; Keras is imported here.

    Raises:
        ModelError: as for `loss_named`.
    """
    if is_users(name):
        return users_term(name)
    term: Term = import_module(f"kd.training.losses.{_FILES[loss_named(name).name]}").term
    return term

"""Find the losses that a student can be trained with; importing this imports neither Keras nor TensorFlow.

`builtin` holds the built-in ones, `custom` reads one of your own, `trial` tries it, and `check` finds out what any is.
"""

from kd.errors import ModelError, suggestion
from kd.losses import builtin
from kd.losses.custom import described, users_term
from kd.losses.loss import Loss, Term, is_users


def loss_named(name: str) -> Loss:
    """Return the description of a loss. A user's own is imported for it, see `is_users`; a built-in one is not.

    Raises:
        ModelError: there is no such loss, or a user's own cannot be imported or called as one.
    """
    if is_users(name):
        return described(name)
    if name not in builtin.LOSSES:
        raise ModelError(
            f"no loss {name!r}{suggestion(name, builtin.LOSSES)} Losses: {', '.join(builtin.LOSSES)}, or your own as"
            " package.module:function or ./file.py:function"
        )
    return builtin.LOSSES[name]


def term_of(name: str) -> Term:
    """Return the distillation term of a loss, see `kd.losses.loss.Term`; errors as for `loss_named`."""
    return users_term(name) if is_users(name) else builtin.TERMS[loss_named(name).name]

"""Find the losses for students by name; importing this imports neither Keras nor TensorFlow.

`builtin` holds the built-in losses, `custom` reads a user's, `trial` tries it, and `check` classifies any loss.
"""

from kd.errors import ModelError, suggestion
from kd.losses import builtin
from kd.losses.custom import described
from kd.losses.loss import Loss, is_users


def loss_named(name: str) -> Loss:
    """Return the description of a loss; a user's is imported for it, see `is_users`.

    Raises:
        ModelError: unknown loss, or a user's cannot be imported or called as one.
    """
    if is_users(name):
        return described(name)
    if name not in builtin.LOSSES:
        raise ModelError(
            f"no loss {name!r}{suggestion(name, builtin.LOSSES)} Losses: {', '.join(builtin.LOSSES)}, or your own as"
            " package.module:function or ./file.py:function"
        )
    return builtin.LOSSES[name]

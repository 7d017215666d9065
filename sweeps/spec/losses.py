"""The loss that a spec names: what is known of it without importing a user's code."""

from difflib import get_close_matches

from kd.losses.builtin import LOSSES
from kd.losses.loss import Loss, is_users
from sweeps.spec.further import TRAINED


def known(name: str) -> Loss | None:
    """Return the description of a loss of this package; None for a user's own."""
    return LOSSES.get(name)


def formula(name: str) -> str:
    """Return the formula of a loss; of a user's own, with its name in the place of its term."""
    found = known(name)
    return found.formula if found else f"alpha*CE(labels) + (1-alpha)*term, term: {name}"


def check_loss(name: str) -> str:
    """Return the name of a loss; raise ValueError if there is none of that name."""
    if not is_users(name) and name not in LOSSES:
        hint = f"did you mean {near[0]}? " if (near := get_close_matches(name, LOSSES, n=1)) else ""
        raise ValueError(f"{hint}{', '.join(LOSSES)}, or your own as package.module:function or ./file.py:function")
    return name


def check_parameters(loss: str, key: str, names: list[str]) -> None:
    """Check that a loss of this package has the parameters of those names; of a user's own, `create` checks them.

    Raises:
        ValueError: it has not.
    """
    found = known(loss)
    if found is None:
        return
    own = [parameter.name for parameter in found.parameters]
    for name in names:
        if name not in own:
            has = f"its own are {', '.join(own)}" if own else "it has none of its own"
            more = f"; allowed beside those: {', '.join(TRAINED)}" if key == "search.space" else ""
            raise ValueError(f"{key}: got {name!r}, but loss {loss} has no such parameter: {has}{more}")


def defaults(loss: str) -> dict[str, float]:
    """Return the default of each own parameter of a loss of this package; empty for a user's own."""
    found = known(loss)
    return {} if found is None else {one.name: one.default for one in found.parameters}

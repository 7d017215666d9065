"""Freeze what a spec's loss says of itself; a user's own is tried in a child process before anything is created."""

from collections.abc import Iterable
from typing import Any

from kd.errors import ModelError, NotHere, SubprocessFailed
from kd.losses.loss import Loss, is_users
from kd.tools.code import is_there
from kd.tools.processes import run_in_subprocess
from sweeps.errors import SpecError
from sweeps.spec.code import missing
from sweeps.spec.further import RECORDED, TRAINED
from sweeps.spec.losses import known
from sweeps.spec.model import Spec
from sweeps.spec.tables import Search
from sweeps.workers import subprocess_jobs

_KEY = "training.distillation"
_FIXED = (1.0, 1.0)
_UNASKED = (_FIXED, Search.model_fields["temperature"].default)  # every preset has the default
_SECONDS = 120.0  # of TensorFlow's start and of one loss


def frozen_loss(spec: Spec, classes: int) -> dict[str, Any]:
    """Return what a spec keeps of its loss, as changes of it: the parameters of a user's own, and that T is not used.

    A loss without T is searched over alpha alone: the range of T becomes [1, 1] where the spec asks for none.

    Args:
        classes: of the source.

    Raises:
        SpecError: a user's own loss cannot be imported, called or trained with, or lacks a parameter; or a range of T
            is asked for that the loss does not use; one line.
    """
    name = spec.training.distillation
    for one in spec.search.space:
        if one in RECORDED and is_users(name):
            raise SpecError(
                f"search.space: got {one!r}, which the records of a sweep have as a column; call this parameter"
                f" of {name} otherwise, such as {one}_weight"
            )
    loss = known(name) or _tried(name, classes)
    if loss.name == "kd":
        return {}
    if not loss.uses_temperature and spec.search.temperature not in _UNASKED:
        raise SpecError(
            f"search.temperature: got {list(spec.search.temperature)}, but loss {name} does not use T; remove the"
            " setting, or choose another loss"
        )
    changes: dict[str, Any] = {} if loss.uses_temperature else {"search.temperature": _FIXED}
    if not is_users(name):
        return changes
    own = {one.name: one.default for one in loss.parameters}
    asked: dict[str, Iterable[str]] = {
        "search.space": spec.search.space,
        "training.loss_parameters": spec.training.loss_parameters,
    }
    for key, names in asked.items():
        for one in names:
            if one not in own and one not in TRAINED:
                has = f"its parameters are {', '.join(own)}" if own else "it has no parameters with a default"
                raise SpecError(f"{key}: got {one!r}, which loss {name} does not take; {has}")
    return changes | {"training.loss_parameters": own | spec.training.loss_parameters}


def _tried(name: str, classes: int) -> Loss:
    if not is_there(name):
        raise SpecError(f"{_KEY}: got {name!r}; {missing(name)}")
    try:
        tried: Loss = run_in_subprocess(
            subprocess_jobs.check_users_loss, name, classes, on_step=lambda: None, seconds=_SECONDS
        )
        return tried
    except (ModelError, NotHere) as error:
        raise SpecError(f"{_KEY}: {error}") from None
    except SubprocessFailed as error:
        raise SpecError(f"{_KEY}: loss {name!r} cannot be tried: {error}") from None

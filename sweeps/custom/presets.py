"""Make a spec from options, and a spec to start from out of a function's arguments."""

from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

from sweeps.custom.spec import CustomSpec, is_number
from sweeps.errors import SpecError
from sweeps.extensions import CUSTOM
from sweeps.hints import local
from sweeps.spec.model import ROLES, changed, override, parse
from sweeps.trainers.protocol import Number

if TYPE_CHECKING:
    from sweeps.usecases.create import SpecRequest

DATASET = "data"  # of a sweep without a dataset
# As in preset quick: many equal, cheap searches, because only more searches average the luck.
_BASE: Mapping[str, Any] = {
    "search": {"trials": 6, "sampler": "qmc"},
    "confirm": {"rounds": [[2, 1]]},
    "transfer": {"seeds": 3},
    "outer": {"searches": 8},
}
_MARGIN = 1.0  # of a spec to start from, in which the user sees it
_WIDTH = 8.0  # factor from a default to each end of its guessed range
_SHARE = 0.05  # a default from here to 1 looks like a share


def requested(request: "SpecRequest") -> CustomSpec:
    """Return the spec for a command's options; see `sweeps.trainers.protocol.TrainerKind.requested`."""
    request.refuse("teacher", "student", "epochs", "size")
    if request.train and request.command:
        raise SpecError("got --train and --train-command; give one of them")
    options = _options(request)
    if request.base is not None:
        if not isinstance(request.base, CustomSpec):
            raise SpecError(f"--train makes a sweep of the trainer {CUSTOM}; the spec has {request.base.trainer.kind}")
        return override(request.base, options)
    space = [key for key in (*options, *request.keys) if key == "trainer.space" or key.startswith("trainer.space.")]
    if not space:
        start = local().line("spec", f"--train {quote(request.train or './train.py:train')} > my.toml")
        raise SpecError(
            f"nothing to search: give --space NAME=LOW:HIGH, for example --space alpha=0.0:1.0; or start with: {start}"
        )
    values = {name: dict(table) for name, table in _BASE.items()} | {"trainer": {"kind": CUSTOM}}
    spec = parse(changed({**values, "source": {"dataset": DATASET}}, options | request.keys), new=True)
    assert isinstance(spec, CustomSpec)
    return spec


def _options(request: "SpecRequest") -> dict[str, Any]:
    options: dict[str, Any] = {f"trainer.space.{name}": bounds for name, bounds in request.space.items()}
    options |= {"trainer.train": request.train, "trainer.command": ""} if request.train else {}
    options |= {"trainer.command": request.command, "trainer.train": ""} if request.command else {}
    source = request.dataset or request.source
    options |= {"source.dataset": source} if source else {}
    options |= {f"{role}.dataset": name for role, name in zip(ROLES[1:], request.targets, strict=False)}
    if request.dataset:
        options |= dict.fromkeys(ROLES[1:])
    return options


def start(train: str, arguments: Mapping[str, Any]) -> CustomSpec:
    """Return a spec to start from for a function with these arguments and defaults; None: no default.

    The defaults become the untuned point; the ranges around them are guesses for the user to edit.
    """
    # Other values, such as a text, have no range, and keep their default.
    space = {
        name: _around(value)
        for name, value in arguments.items()
        if value is None or isinstance(value, bool) or is_number(value)
    }
    default = {name: value for name, value in arguments.items() if value is not None and name in space}
    if not space:
        raise SpecError(f"trainer.train: {train!r} has no numeric argument, so there is nothing to search")
    trainer: dict[str, Any] = {"kind": CUSTOM, "train": train, "space": space}
    if default and default.keys() == space.keys():
        trainer["defaults"] = {"default": default}
    transfer = {**_BASE["transfer"], "margin": _MARGIN}
    values = {**_BASE, "transfer": transfer, "trainer": trainer, "source": {"dataset": DATASET}}
    spec = parse(values, new=True)
    assert isinstance(spec, CustomSpec)
    return spec


def _around(value: bool | Number | None) -> Mapping[str, Any]:
    if value is None:
        return {"low": 0.0, "high": 1.0}
    if isinstance(value, bool):
        return {"choices": [False, True]}
    if isinstance(value, int):
        if value < 1:
            return {"low": float(value) - 1.0, "high": float(value) + 1.0}
        return {"low": max(1, round(value / _WIDTH)), "high": max(3, round(value * _WIDTH)), "log": True}
    if _SHARE <= value <= 1:
        return {"low": 0.0, "high": 1.0}
    if value > 0:
        return {"low": value / _WIDTH, "high": value * _WIDTH, "log": True}
    return {"low": value - 1.0, "high": value + 1.0}

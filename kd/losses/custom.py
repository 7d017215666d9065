"""Read a user's loss from its function: formula, parameters, and signature."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from kd.errors import ModelError
from kd.losses.loss import Loss, Parameter, Tensor, mean_over_images
from kd.tools.code import load_as

CALLED = "loss(labels, teacher_logits, student_logits, *, temperature, <own parameters with a default>)"

_GIVEN = ("labels", "teacher_logits", "student_logits")
_TEMPERATURE = "temperature"
# Search parameters of the training: their values go there, and the loss would keep its default.
_RESERVED = ("alpha", "learning_rate", "epochs", "batch_size")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def described(name: str) -> Loss:
    """Import a user's function and return its description.

    Raises:
        ModuleNotHere: its module or file is not on this machine.
        ModelError: it cannot be imported, is not a function, or cannot be called as a loss.
    """
    function = _function(name)
    parameters = _own(name, function)
    call, uses_temperature = users_function(name), _uses_temperature(function)
    summary = (inspect.getdoc(function) or "").partition("\n")[0].strip()

    def term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, **parameters: Tensor) -> Tensor:
        return mean_over_images(call(labels, teacher_logits, student_logits, **parameters))

    return Loss(
        name=name,
        formula=f"alpha*CE(labels) + (1-alpha)*term, term: {summary or name}",
        source="",
        term=term,
        parameters=parameters,
        default_temperature=4.0 if uses_temperature else 1.0,
        uses_temperature=uses_temperature,
    )


def users_function(name: str) -> Callable[..., Tensor]:
    """Return a user's function in a form that accepts T even if it does not use it; errors as for `described`."""
    function = _function(name)
    uses_temperature = _uses_temperature(function)

    def call(labels: Tensor, teacher: Tensor, student: Tensor, *, temperature: Tensor, **own: Tensor) -> Tensor:
        if uses_temperature:
            own[_TEMPERATURE] = temperature
        return function(labels, teacher, student, **own)

    return call


def _uses_temperature(function: Callable[..., Any]) -> bool:
    return _TEMPERATURE in inspect.signature(function).parameters


def _function(name: str) -> Callable[..., Any]:
    function = load_as("loss", name, ModelError)
    if not inspect.isroutine(function):
        raise ModelError(f"loss {name!r} must be a function {CALLED}, got {type(function).__name__}")
    return function


def _own(name: str, function: Callable[..., Any]) -> tuple[Parameter, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise ModelError(f"loss {name!r} must be a Python function {CALLED}; this one has no signature") from None
    takes = f"loss {name!r} is called as {CALLED}, but takes {signature}"
    parameters = list(signature.parameters.values())
    first, rest = parameters[:3], parameters[3:]
    names, kinds = [parameter.name for parameter in first], {parameter.kind for parameter in first}
    if names != list(_GIVEN) or kinds != {_NAMED[0]}:
        raise ModelError(takes)
    own = []
    for parameter in rest:
        if parameter.kind not in _NAMED:
            raise ModelError(f"{takes}: name each parameter, without {str(parameter).partition(':')[0]}")
        if parameter.name == _TEMPERATURE:
            continue
        if parameter.name in _RESERVED:
            why = f"{parameter.name} is a setting of the training"
            raise ModelError(f"{takes}: {why}; give this parameter another name")
        default = parameter.default
        if default is inspect.Parameter.empty:
            raise ModelError(f"{takes}: give {parameter.name} a default, such as {parameter.name}=1.0")
        if isinstance(default, bool) or not isinstance(default, (int, float)) or not math.isfinite(default):
            raise ModelError(
                f"loss {name!r}: the default of {parameter.name} must be a finite number, got {default!r}; only numbers"
                " are searched"
            )
        own.append(Parameter(parameter.name, float(default)))
    return tuple(own)

"""Find out how to call a user's distillation loss: the role of each argument, and the framework it computes in.

A loss of other code has other names and another order of arguments; T and alpha may be arguments of the function or of
a class, or be hard-coded.
"""

import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from kd.errors import ModelError, describe_error
from kd.losses.frameworks import FRAMEWORKS, Framework, framework_of
from kd.tools import code

Role: TypeAlias = Literal["student", "teacher", "labels", "temperature", "alpha"]
ROLES: tuple[Role, ...] = ("student", "teacher", "labels", "temperature", "alpha")

# Usual names, in lower case and without "_"; of two that fit, the first here wins.
_NAMES: Mapping[Role, tuple[str, ...]] = {
    "student": (
        *("studentlogits", "logitsstudent", "studentoutputs", "studentoutput", "outputsstudent", "student", "logitss"),
        *("slogits", "ys", "studentpred", "studentpreds", "ypred", "outputs", "output", "logits", "preds", "pred"),
        *("predictions", "input", "inputs", "stulogits", "outputsstu"),
    ),
    "teacher": (
        *("teacherlogits", "logitsteacher", "teacheroutputs", "teacheroutput", "outputsteacher", "teacher", "logitst"),
        *("tlogits", "yt", "teacherpred", "teacherpreds", "teacherscores", "tealogits", "outputstea", "softlabel"),
    ),
    "labels": ("labels", "label", "targets", "target", "ytrue", "hardlabels", "groundtruth", "gt", "y"),
    "temperature": ("temperature", "temp", "tau", "kdtemperature", "kdtemp", "kdt"),
    "alpha": (
        *(
            "alpha",
            "kdalpha",
            "weight",
            "kdweight",
            "lambda",
            "lambd",
            "lam",
            "lmbda",
            "balancing",
            "kdlambda",
            "lambdaparam",
        ),
        *("distillationweight", "distillweight", "kdlossweight", "distilllossweight", "studentlossweight"),
        *("tasklossweight", "softtargetlossweight", "distillationalpha"),
    ),
}
_SETTINGS = ("params", "args", "opt", "opts", "cfg", "config", "hparams")
_OF_SETTINGS: tuple[Role, ...] = ("temperature", "alpha")
_GIVEN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _Settings(dict[str, Any]):
    """T and alpha under each of their names: params.alpha, params["alpha"], params.get("alpha")."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"it has only T and alpha, not {name!r}; wrap the loss in a function") from error


@dataclass(frozen=True)
class CallableLoss:
    """A user's loss, ready to be called with NumPy arrays.

    Args:
        is_factory: whether the function makes the loss: a class, or a function that takes neither student nor teacher.
        makes: the names of T and alpha among the arguments of a factory.
        takes: the argument of the loss for each role.
        constants: further arguments of factory and loss, and their values.
        one_hot: whether it takes labels as one-hot rows.
        precision: of the logits that it takes: float64 if possible.
        settings: the argument that is an object with T and alpha, as in params.alpha.
        of_settings: T and alpha, as far as they are read from that object.
        fixed_alpha: the only alpha to call it with; None: any.
    """

    name: str
    function: Callable[..., Any]
    is_factory: bool
    makes: Mapping[Role, str]
    takes: Mapping[Role, str]
    constants: Mapping[str, Any]
    framework: Framework
    one_hot: bool = False
    precision: str = "float64"
    settings: str = ""
    of_settings: tuple[Role, ...] = _OF_SETTINGS
    fixed_alpha: float | None = None
    made: dict[tuple[float | None, float | None], Callable[..., Any]] = field(default_factory=dict, compare=False)

    def has(self, role: Role) -> bool:
        if role == "alpha" and self.fixed_alpha is not None:
            return False
        return role in self.takes or role in self.makes or (bool(self.settings) and role in self.of_settings)

    def targets(self, labels: npt.NDArray[np.int64], classes: int) -> Any:
        """Return labels as the loss takes them."""
        return self.framework.tensor(np.eye(classes, dtype=np.float32)[labels] if self.one_hot else labels)

    def result(self, targets: Any, teacher: Any, student: Any, temperature: float | None, alpha: float | None) -> Any:
        """Call the loss with tensors of its framework."""
        alpha = alpha if self.fixed_alpha is None else self.fixed_alpha
        values = {"temperature": temperature, "alpha": alpha}
        function = self.function
        if self.is_factory:
            if (temperature, alpha) not in self.made:
                made_with = {name: values[role] for role, name in self.makes.items()}
                self.made[temperature, alpha] = _called(self.name, function, {**self.constants, **made_with})
            function = self.made[temperature, alpha]
        tensors = {"student": student, "teacher": teacher, "labels": targets, **values}
        arguments: dict[str, Any] = {name: tensors[role] for role, name in self.takes.items()}
        if self.settings:
            names = {name: values[role] for role in _OF_SETTINGS for name in _NAMES[role]}
            arguments[self.settings] = _Settings(names, T=temperature)
        return _called(self.name, function, {**self.constants, **arguments})

    def values(
        self,
        labels: npt.NDArray[np.int64],
        teacher: npt.NDArray[Any],
        student: npt.NDArray[Any],
        temperature: float | None,
        alpha: float | None,
        precision: str = "",
    ) -> npt.NDArray[np.float64]:
        """Return the loss of one batch, a scalar or one value per image, as float64.

        Raises:
            ModelError: it raises, returns something else, or changes its arguments.
        """
        first, second = (self.framework.tensor(values, precision or self.precision) for values in (teacher, student))
        inputs = (self.targets(labels, student.shape[-1]), first, second)
        before = [self.framework.array(tensor).copy() for tensor in inputs]
        result = self.result(*inputs, temperature, alpha)
        if any((self.framework.array(array) != copy).any() for array, copy in zip(inputs, before, strict=True)):
            raise ModelError(f"loss {self.name!r} changes its logits or labels in place; let it compute with copies")
        return self._numbers(result, len(labels))

    def _numbers(self, result: Any, images: int) -> npt.NDArray[np.float64]:
        allowed = f"let it return a scalar, or one value per image, shape ({images},)"
        if isinstance(result, (tuple, list, dict, str, bytes, bool)) or result is None:
            raise ModelError(f"loss {self.name!r} returns a {type(result).__name__}; {allowed}")
        try:
            if "complex" in str(getattr(result, "dtype", type(result))):  # a cast would drop the imaginary part
                raise TypeError("a complex number")
            values = np.asarray(self.framework.array(result), dtype=np.float64)
        except Exception as error:  # the result may be anything
            raise ModelError(f"loss {self.name!r} returns a {type(result).__name__}; {allowed}") from error
        if values.shape not in ((), (1,), (images,)):
            raise ModelError(f"loss {self.name!r} returns shape {values.shape}; {allowed}")
        return values


def _makes_loss(function: Any, given: Mapping[Role, str]) -> bool:
    if inspect.isclass(function):
        return True
    parameters = _parameters(function)
    roles = _matched(parameters, {role: name for role, name in given.items() if name in parameters})
    return not callable(getattr(function, "forward", None)) and not {"student", "teacher"} & set(roles)


def loss_of(name: str, given: Mapping[str, str], framework: str | None, classes: int) -> CallableLoss:
    """Load a loss and find out, by calls, how to call it.

    Args:
        given: the user's assignments: a role and the name of its argument, or an argument and its value.
        framework: one of `FRAMEWORKS`; None: the first that works.
        classes: of the logits in these calls.

    Raises:
        ModelError: it cannot be loaded or called; one line.
    """
    function = code.load_as("loss", name, ModelError)
    if not callable(function):
        raise ModelError(f"loss {name!r} must be a function or a class, got {type(function).__name__}")
    roles = {role: given[role] for role in ROLES if role in given}
    constants = {argument: _literal(text) for argument, text in given.items() if argument not in ROLES}
    makes: dict[Role, str] = {}
    call = function
    if is_factory := _makes_loss(function, roles):
        own_parameters = _parameters(function)
        makes = {role: text for role, text in _matched(own_parameters, roles).items() if role in _OF_SETTINGS}
        _check_rest(name, function, own_parameters, {*makes.values(), *constants})
        trial = {"temperature": 4.0, "alpha": 0.5}
        call = _called(name, function, {**constants, **{text: trial[role] for role, text in makes.items()}})
        if not callable(call):
            if inspect.isclass(function) and makes:
                raise ModelError(
                    f"loss {name!r} makes an object that cannot be called; give it a __call__(student, teacher)"
                )
            raise ModelError(
                f"loss {name!r} takes neither student nor teacher: {_signature(function)}; name these arguments with"
                " --arg student=NAME --arg teacher=NAME"
            )
    parameters = _parameters(call)
    takes = _matched(parameters, {role: text for role, text in roles.items() if text not in makes.values()})
    takes = {role: text for role, text in takes.items() if role not in makes}
    if unknown := [text for text in (*roles.values(), *constants) if text not in {*parameters, *_parameters(function)}]:
        raise ModelError(
            f"loss {name!r} has no argument {unknown[0]!r}; it takes {_signature(call)}, and --arg ROLE=NAME the roles"
            f" {', '.join(ROLES)}"
        )
    for role in ("student", "teacher"):
        if role not in takes:
            raise ModelError(
                f"loss {name!r} takes {_signature(call)}: which argument is the {role}? Name it with --arg {role}=NAME;"
                " it gets logits, not probabilities"
            )
    rest = [text for text in parameters if text not in (*takes.values(), *constants)]
    settings = next((text for text in rest if text in _SETTINGS and not set(_OF_SETTINGS) & set(takes)), "")
    _check_rest(name, call, parameters, {*takes.values(), *constants, settings})
    loss = CallableLoss(name, function, is_factory, makes, takes, constants, framework_of("numpy"), settings=settings)
    return _accepted(loss, call, framework, classes)


def _accepted(loss: CallableLoss, call: Callable[..., Any], framework: str | None, classes: int) -> CallableLoss:
    """Return the loss in the first framework, precision and kind of labels with which it returns a number."""
    draw = np.random.default_rng(0)
    images = 5 if classes == 4 else 4  # integer labels must not look like a row of classes
    teacher, student = draw.normal(0, 2, (2, images, classes))
    labels = np.arange(images, dtype=np.int64) % classes
    failure: ModelError | None = None
    for name in [framework] if framework is not None else _likely(loss.function, call):
        computing = framework_of(name)
        kinds = (False, True) if "labels" in loss.takes else (False,)
        for precision, one_hot in itertools.product(("float64", "float32"), kinds):
            tried = replace(loss, framework=computing, one_hot=one_hot, precision=precision, made={})
            try:
                values = [tried.values(labels, teacher, student, 4.0, 0.5) for _ in range(2)]
            except ModelError as error:
                failure = failure or error
                continue
            if not np.allclose(values[0], values[1], rtol=1e-6, atol=0, equal_nan=True):
                raise ModelError(
                    f"loss {loss.name!r} is random: the same logits gave {values[0]} and {values[1]}; remove dropout or"
                    " noise"
                )
            if np.isfinite(values[0]).all():
                return replace(tried, of_settings=_used(tried, labels, teacher, student)) if loss.settings else tried
            failure = failure or ModelError(
                f"loss {loss.name!r} is not finite on plain logits: {values[0]}; F.kl_div takes log_softmax of the"
                " student and softmax of the teacher"
            )
    if isinstance(failure, _Raised):
        raise ModelError(
            f"{failure} It was called with logits of shape ({images}, {classes}); for another number of classes:"
            " --classes N"
        )
    assert failure is not None
    raise failure


def _used(loss: CallableLoss, labels: npt.NDArray[np.int64], *logits: npt.NDArray[Any]) -> tuple[Role, ...]:
    """Return which of T and alpha change the loss; the other may be hard-coded."""
    teacher, student = logits
    whole = loss.values(labels, teacher, student, 4.0, 0.5)
    others: dict[Role, tuple[float, float]] = {"temperature": (2.0, 0.5), "alpha": (4.0, 0.1)}
    return tuple(
        role for role, other in others.items() if (loss.values(labels, teacher, student, *other) != whole).any()
    )


def _likely(function: Callable[..., Any], call: Callable[..., Any]) -> Iterator[str]:
    """Yield the frameworks that a function may compute in, first those that its module has imported.

    NumPy comes after these, because many modules also import it, and its functions take any tensor.
    """
    target = inspect.unwrap(getattr(call, "forward", call))
    target = getattr(target, "__func__", target)
    known = [name for name in FRAMEWORKS if name != "numpy"]
    names = [base.__module__ for base in type(call).__mro__]
    names += [_root(value) for value in getattr(target, "__globals__", {}).values()]
    roots = {name.partition(".")[0] for name in names}
    others = [name for name in known if name not in roots and name in sys.modules]
    yield from (name for name in known if name in roots)
    yield from ("numpy", *others) if "numpy" in roots else (*others, "numpy")


def _root(value: Any) -> str:
    return str(value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "") or "")


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the named arguments of a call: of the `forward` of a torch module, of the `call` of a Keras loss."""
    target = function
    if not inspect.isroutine(function) and not inspect.isclass(function):
        target = getattr(function, "forward", None) or getattr(function, "call", None) or function
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {parameter.name: parameter for parameter in parameters if parameter.kind in _GIVEN}


def _signature(function: Callable[..., Any]) -> str:
    return f"({', '.join(_parameters(function))})"


def _matched(parameters: Mapping[str, inspect.Parameter], given: Mapping[Role, str]) -> dict[Role, str]:
    """Return the argument of each role: the given one, the likeliest usual name, else one that contains the role."""
    matched = dict(given)
    plain = {name: name.lower().replace("_", "") for name in parameters if name not in given.values()}
    if "temperature" not in matched and "T" in plain:
        matched["temperature"] = "T"
        del plain["T"]
    for role in ROLES:
        if role in matched:
            continue
        names = [name for known in _NAMES[role] for name, text in plain.items() if text == known]
        if not names and role in ("student", "teacher"):
            names = [name for name, text in plain.items() if role in text and not _is_setting(text)]
        if not names and role == "student":  # the most copied function has y, labels, teacher_scores
            names = [name for name, text in plain.items() if text == "y"]
        # A `weight` that is None by default is the class weights of a cross entropy.
        names = [name for name in names if plain[name] != "weight" or parameters[name].default is not None]
        if names:
            matched[role] = names[0]
            del plain[names[0]]
    return matched


def _is_setting(text: str) -> bool:
    """Return whether an argument named after a model is not its logits but a number, or probabilities."""
    words = ("weight", "temp", "path", "alpha", "coef", "lambda", "model", "prob")
    return text.endswith("io") or any(word in text for word in words)


def _check_rest(
    name: str, function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], known: set[str]
) -> None:
    for parameter in parameters.values():
        if parameter.default is inspect.Parameter.empty and parameter.name not in known:
            raise ModelError(
                f"loss {name!r} takes {_signature(function)}: what is {parameter.name}? Give its role, as --arg"
                f" teacher={parameter.name}, or its value: --arg {parameter.name}=0.5"
            )


def _literal(text: str) -> Any:
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


class _Raised(ModelError):
    """The user's code raised."""


def _called(loss: str, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Call a user's function with the values for its arguments, by position if they are positional-only."""
    parameters = _parameters(function)
    given = {name: value for name, value in values.items() if name in parameters}
    first = [name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.POSITIONAL_ONLY]
    named = {name: value for name, value in given.items() if name not in first}
    try:
        return code.call(lambda: function(*(given[name] for name in first if name in given), **named))
    except ImportError as error:
        missing = f"; type: pip install {error.name.partition('.')[0]}" if error.name else ""
        raise ModelError(f"loss {loss!r} cannot import here: {error}{missing}") from error
    except Exception as error:  # a user's code may raise anything
        raise _Raised(f"loss {loss!r} raises: {describe_error(error)}.") from error

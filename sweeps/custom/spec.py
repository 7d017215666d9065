"""Define the spec of a user's training, with its table [trainer] of space, defaults and score."""

import keyword
import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, model_validator

from storage.studies.space import Categorical, Range, Space, Whole
from sweeps.custom.command import PLACEHOLDERS, placeholders
from sweeps.custom.function import GIVEN
from sweeps.extensions import CUSTOM
from sweeps.spec import tables
from sweeps.spec.model import Spec, TrainerTable
from sweeps.terminal import truncated
from sweeps.trainers.names import RESERVED
from sweeps.trainers.protocol import Point, Value
from sweeps.trainers.score import Score

if TYPE_CHECKING:
    from sweeps.custom.kind import CustomKind

UNTREATED = "untreated"
NO_TEST = "none"
MOST_WHOLE = 2**53  # up to it, floats, as in samplers and JSON, represent every whole number
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
_DEFAULT = re.compile(r"[a-z][a-z0-9-]{0,40}")
_ARMS = ("best", "native", "random", UNTREATED)
_TAKEN = RESERVED | set(GIVEN) | set(PLACEHOLDERS)
_SPELLINGS = "[low, high], { low = 1.0, high = 20.0, log = true } or { choices = [...] }"


def is_number(value: object) -> bool:
    """Return whether a value is a finite number; not a boolean, and not a whole number beyond the floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # math.isfinite(10**400) raises


def read_space(given: Any) -> Space:
    """Parse a space; raise a ValueError whose text follows "allowed:"."""
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"a table of one parameter or more, each as {_SPELLINGS}")
    for name in given:
        if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name in _TAKEN:
            raise ValueError(
                f"names of at most 41 letters a to z, digits and _, no word of Python, and none of"
                f" {', '.join(sorted(_TAKEN))}; {truncated(name, 60)!r} is not one"
            )
    return {name: _bounds(name, written) for name, written in given.items()}


def _bounds(name: str, written: Any) -> Range | Whole | Categorical:
    if isinstance(written, Range | Whole | Categorical):
        return written
    table = _as_table(name, written)
    if "choices" in table:
        return _choice(name, table["choices"])
    low, high, log = table["low"], table["high"], table.get("log", False)
    if not is_number(low) or not is_number(high) or not isinstance(log, bool):
        raise ValueError(f"for {name}: {_SPELLINGS}, with finite numbers")
    if low >= high:
        single = "; a single value cannot be searched, so leave the name out" if low == high else ""
        raise ValueError(f"for {name}: low < high{single}; got {low!r} and {high!r}")
    if log and low <= 0:
        raise ValueError(f"for {name}: low > 0 with log = true; got {low!r}")
    if not isinstance(low, int) or not isinstance(high, int):
        if math.isinf(float(high) - float(low)):
            raise ValueError(f"for {name}: high - low below {sys.float_info.max:.2g}; got {low!r} and {high!r}")
        return Range(float(low), float(high), log=log)
    if max(-low, high) > MOST_WHOLE:
        raise ValueError(f"for {name}: whole numbers up to 2^53 = {MOST_WHOLE}; write {low}.0 and {high}.0 for a range")
    if high - low == 1:
        raise ValueError(
            f"for {name}: [{low}.0, {high}.0] for a range, or choices = [{low}, {high}]; [{low}, {high}] are two whole"
            " numbers"
        )
    return Whole(low, high, log=log)


def _as_table(name: str, written: Any) -> Mapping[str, Any]:
    if isinstance(written, list | tuple):
        ends = len(written) == 2 and all(is_number(value) for value in written)
        return {"low": written[0], "high": written[1]} if ends else {"choices": written}
    if isinstance(written, Mapping):
        keys = set(written)
        if keys == {"choices"} or {"low", "high"} <= keys <= {"low", "high", "log"}:
            return written
    raise ValueError(f"for {name}: {_SPELLINGS}")


def _choice(name: str, options: Any) -> Categorical:
    if not isinstance(options, list | tuple) or len(options) < 2:
        raise ValueError(f"for {name}: two or more choices: a single one cannot be searched")
    for value in options:
        text = isinstance(value, str) and value.isprintable() and value.strip()
        if not (text or isinstance(value, bool) or is_number(value)):
            raise ValueError(f"for {name}: numbers, texts, true and false as choices; got {value!r}")
    if len(set(options)) < len(options):
        raise ValueError(f"for {name}: each choice once (1, 1.0 and true are the same)")
    return Categorical(tuple(options))


def write_space(space: Space) -> dict[str, Any]:
    """Return a space as the table in a stored spec."""
    written: dict[str, Any] = {}
    for name, bounds in space.items():
        if isinstance(bounds, Categorical):
            written[name] = {"choices": list(bounds.options)}
        else:
            written[name] = {"low": bounds.low, "high": bounds.high} | ({"log": True} if bounds.log else {})
    return written


def _checked_defaults(points: Mapping[str, Mapping[str, Value]]) -> Mapping[str, Mapping[str, Value]]:
    for name in points:
        if not _DEFAULT.fullmatch(name) or name in _ARMS:
            raise ValueError(
                f"names of small letters, digits and -, and none of {', '.join(_ARMS)}; {name!r} is not one"
            )
    return points


def _checked_command(command: str) -> str:
    try:
        shlex.split(command)
    except ValueError as error:
        raise ValueError(f"the words of a command; {str(error)[0].lower()}{str(error)[1:]}") from None
    return command


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("text of one line, without spaces around it")
    return text


_Point = dict[str, Value]
_Text = Annotated[str, AfterValidator(_printable)]
_Command = Annotated[str, AfterValidator(_checked_command)]


class ScoreTable(tables.SpecModel):
    """The score. An accuracy is a share, shown in %; other scores are shown unchanged."""

    name: _Text = Field(
        default="accuracy", min_length=1, max_length=40, description="name of the score, such as loss or F1"
    )
    unit: _Text = Field(default="", max_length=16, description='behind a value; left out: "%" of an accuracy')
    direction: Literal["maximize", "minimize"] = "maximize"
    low: float | None = Field(default=None, description="a score below is an error; left out: 0 of an accuracy")
    high: float | None = Field(default=None, description="a score above is an error; left out: 1 of an accuracy")
    scale: float = Field(default=1.0, gt=0, description="shown is scale * score; left out: 100 of an accuracy")

    @model_validator(mode="before")
    @classmethod
    def _of_accuracy(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("name", "accuracy") != "accuracy":
            return values
        return {"unit": "%", "low": 0.0, "high": 1.0, "scale": 100.0} | dict(values)

    @model_validator(mode="after")
    def _bounded(self) -> "ScoreTable":
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low < high; got {self.low:g} and {self.high:g}")
        return self

    def as_score(self) -> Score:
        """Return the engine's form of the score."""
        return Score(
            name=self.name,
            unit=self.unit,
            difference="points" if self.unit == "%" else self.unit,
            scale=self.scale,
            minimize=self.direction == "minimize",
            low=-math.inf if self.low is None else self.low,
            high=math.inf if self.high is None else self.high,
        )


class CustomTable(TrainerTable):
    """Your training, a function or a command, with its search space and its score."""

    kind: str = Field(default=CUSTOM, description="custom")
    train: str = Field(default="", description="./file.py:function or package.module:function")
    command: _Command = Field(
        default="", description="instead of it: a program with its arguments; {name} is replaced by a value"
    )
    test: str = Field(
        default="",
        description="a function, or a command; left out: `test` of the same file, or the command if it has {test};"
        ' "none": none',
    )
    untreated: _Point = Field(
        default={}, description="the values that gains are measured from; the others come from the first default"
    )
    exact: bool = Field(default=True, description="the same run gives the same score: replay holds it to that")
    space: Annotated[Space, PlainValidator(read_space), PlainSerializer(write_space)] = Field(
        description=f"each parameter as {_SPELLINGS}; two whole numbers: the whole numbers from low to high"
    )
    defaults: Annotated[dict[str, _Point], AfterValidator(_checked_defaults)] = Field(
        default={}, description="untuned points; the first one takes part in every confirm"
    )
    score: ScoreTable = Field(
        default_factory=lambda: ScoreTable.model_validate({}), description="the score of a training"
    )

    @cached_property
    def as_kind(self) -> "CustomKind":
        """The trainer for this table."""
        from sweeps.custom.kind import CustomKind  # here: it imports this file

        return CustomKind(self)

    @property
    def tests(self) -> str:
        """The function or the command that scores the test; "" if there is none, or none yet."""
        if self.test:
            return "" if self.test == NO_TEST else self.test
        return self.command if "test" in placeholders(self.command) else ""

    def point(self, given: Mapping[str, Value]) -> Point:
        """Return the point with these values; the others come from the first default, or are the low ends."""
        first = next(iter(self.defaults.values()), {})
        return Point.of({name: _value(bounds, {**first, **given}, name) for name, bounds in self.space.items()})


def _value(bounds: Range | Whole | Categorical, values: Mapping[str, Value], name: str) -> Value:
    if name not in values:
        low: Value = bounds.options[0] if isinstance(bounds, Categorical) else bounds.low
        return low
    return float(values[name]) if isinstance(bounds, Range) else values[name]


class CustomSpec(Spec):
    """The whole sweep."""

    LATER: ClassVar[tuple[tuple[str, str], ...]] = ()

    trainer: CustomTable

    @property
    def kind(self) -> "CustomKind":
        return self.trainer.as_kind

    @model_validator(mode="after")
    def _of_custom(self) -> "CustomSpec":
        table = self.trainer
        if bool(table.train) == bool(table.command):
            both = "both" if table.train else "neither"
            raise ValueError(f"trainer.train and trainer.command: got {both}; give one of them")
        _check_datasets(self)
        for key, point in _points(table):
            _check_point(key, point, table.space, whole=key != f"trainer.{UNTREATED}")
        for key, command in (("command", table.command), ("test", table.tests if table.command else "")):
            unknown = [name for name in placeholders(_parsed(key, command)) if name not in _known(table)]
            if unknown:
                allowed = ", ".join(f"{{{name}}}" for name in _known(table))
                raise ValueError(f"trainer.{key}: got {{{unknown[0]}}}; allowed in braces: {allowed}")
        if not table.untreated and "margin" not in self.transfer.model_fields_set:
            unit = table.score.as_score().difference or f"the unit of the {table.score.name}"
            raise ValueError(
                "transfer.margin is missing: without trainer.untreated no gain shows which difference matters; give it"
                f" in {unit}, for example --set transfer.margin=0.5"
            )
        return self


def _check_datasets(spec: CustomSpec) -> None:
    roles: dict[str, str] = {}
    for role in spec.roles:
        name = spec.role(role).shown
        if not name.isprintable():
            raise ValueError(f"{role}.dataset: got {name!r}; allowed: text of one line")
        last = name.rpartition("/")[2]  # pages show only the last part of a path
        if last in roles:
            both = f"{roles[last]}.dataset and {role}.dataset would both be shown as {last!r}"
            raise ValueError(f"{both}; set {role}.name")
        roles[last] = role


def _points(table: CustomTable) -> Sequence[tuple[str, Mapping[str, Value]]]:
    defaults = [(f"trainer.defaults.{name}", point) for name, point in table.defaults.items()]
    return [*defaults, *([(f"trainer.{UNTREATED}", table.untreated)] if table.untreated else [])]


def _check_point(key: str, point: Mapping[str, Value], space: Space, *, whole: bool) -> None:
    for name, value in point.items():
        if name not in space:
            raise ValueError(f"{key}: got {name!r}; allowed are the names of trainer.space: {', '.join(space)}")
        bounds, problem = space[name], ""
        if isinstance(bounds, Range):
            least = "a number above 0, because the range is logarithmic" if bounds.log else "a number"
            problem = "" if is_number(value) and (not bounds.log or value > 0) else least  # type: ignore[operator]
        elif isinstance(bounds, Whole):
            is_whole = isinstance(value, int) and not isinstance(value, bool) and (not bounds.log or value > 0)
            problem = "" if is_whole else "a whole number, like its range"
        if problem:
            raise ValueError(f"{key}.{name}: got {value!r}; allowed: {problem}")
    missing = [name for name in space if name not in point]
    if whole and missing:
        raise ValueError(f"{key} has no {missing[0]}; a default has a value for each of {', '.join(space)}")


def _known(table: CustomTable) -> Sequence[str]:
    return (*table.space, *PLACEHOLDERS)


def _parsed(key: str, command: str) -> str:
    try:
        return _checked_command(command)
    except ValueError as error:
        raise ValueError(f"trainer.{key}: got {command!r}; allowed: {error}") from None

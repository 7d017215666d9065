"""Define the trainer "custom": a user's function or command, with the space and the score of its spec."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kd.errors import KdError, SubprocessFailed
from kd.tools import code
from kd.tools.processes import run_in_subprocess
from storage.studies.space import Categorical, Range, Space, Whole
from sweeps.custom import command, function, presets
from sweeps.custom.spec import NO_TEST, UNTREATED, CustomSpec, CustomTable
from sweeps.errors import SpecError
from sweeps.spec.model import override
from sweeps.spec.stored import missing, needed_code
from sweeps.trainers.arms import BEST, NATIVE, RANDOM, Arm
from sweeps.trainers.names import RESERVED_NEW
from sweeps.trainers.protocol import Artifacts, Features, Need, Point, ReportParts, Trainer, TrainerKind, Value

if TYPE_CHECKING:
    from sweeps.usecases.create import SpecRequest

IMPORT_S = 120.0  # of the user's file: PyTorch takes ten seconds on a busy machine


class CustomReport(ReportParts):
    # `sweeps.trainers.protocol:ReportParts` documents the methods.
    def methods(self, spec: CustomSpec) -> Sequence[str]:
        table = spec.trainer
        what = f"`{_name(table, table.train)}`" if table.train else f"the command `{table.command}`"
        tested = f"tested by `{_name(table, table.tests)}`" if table.tests else "which has no test"
        exact = "" if table.exact else " The same run need not give the same score."
        return (f"**Training.** Each trial is one call of {what}, {tested}.{exact}",)

    def banner(self, spec: CustomSpec) -> str:
        if spec.trainer.tests:
            return ""
        return (
            "This training has no test: the comparison uses validation scores, on seeds that no selection used, from"
            " the data that selected the points."
        )


class CustomKind(TrainerKind):
    # `sweeps.trainers.protocol:TrainerKind` documents the methods. table: None for the kind without a spec.
    spec = CustomSpec

    def __init__(self, table: CustomTable | None = None) -> None:
        self.features = Features() if table is None else _features(table)
        rows = (NATIVE, BEST, RANDOM) if table is None else _arms(table)
        self.arms: Mapping[str, Arm] = MappingProxyType({arm.key: arm for arm in rows})

    def space(self, spec: CustomSpec, *, transfer: bool = False) -> Space:
        table = spec.trainer
        if not transfer:
            return table.space
        untuned = [*table.defaults.values(), *([table.untreated] if table.untreated else [])]
        points = [table.point(values) for values in untuned]
        return {name: _with(bounds, [point[name] for point in points]) for name, bounds in table.space.items()}

    def detail(self, spec: CustomSpec, role: str, arm: str, facts: Mapping[str, Any]) -> str:
        return ""

    def requested(self, request: "SpecRequest") -> CustomSpec:
        return presets.requested(request)

    def freeze(self, spec: CustomSpec, data: Path | None) -> CustomSpec:
        table = spec.trainer
        for name in table.space:
            if name in RESERVED_NEW:
                raise SpecError(
                    f"trainer.space: got {name!r}, which is a column in the records of a sweep; give this parameter"
                    f" another name, such as {name}_value"
                )
        if table.command:
            changes = {"trainer.command": command.frozen("trainer.command", table.command)}
            if table.test and table.test != NO_TEST:
                changes["trainer.test"] = command.frozen("trainer.test", table.test)
            return override(spec, changes)
        for key, name in self.code(spec):
            _check_there(key, name)
        return override(spec, {"trainer.test": table.test or function.test_beside(table.train) or NO_TEST})

    def try_code(self, spec: CustomSpec, data: Path | None) -> None:
        table = spec.trainer
        if table.train:
            in_child(function.check, table.train, table.tests, list(table.space), len(spec.roles))

    def needs(self, spec: CustomSpec) -> Sequence[Need]:
        return needed_code(spec)

    def files(self, spec: CustomSpec) -> Iterator[tuple[str, str, str]]:
        table = spec.trainer
        for key, text in (("command", table.command), ("test", table.test)):
            if table.command and text:
                yield f"trainer.{key}", text, "no request starts a program on the server; one that does"

    def summary(self, spec: CustomSpec) -> Mapping[str, str]:
        table = spec.trainer
        tested = (
            f"tested by {_name(table, table.tests)}" if table.tests else "no test: the comparison scores validation"
        )
        data = " -> ".join(spec.role(role).shown for role in spec.roles)
        return {"data": data, "trains": f"{_name(table, table.train or table.command)}, {tested}"}

    def report(self) -> ReportParts:
        return CustomReport()

    def code(self, spec: CustomSpec) -> Sequence[tuple[str, str]]:
        table = spec.trainer
        named = [("trainer.train", table.train), ("trainer.test", table.tests)] if table.train else []
        return [(key, name) for key, name in named if name]

    def scripts(self, spec: CustomSpec) -> Sequence[Path]:
        table = spec.trainer
        commands = dict.fromkeys(filter(None, (table.command, table.tests if table.command else "")))
        return list(dict.fromkeys(path for text in commands for path in command.scripts(text)))

    def open(self, spec: CustomSpec, artifacts: Artifacts) -> Trainer:
        from sweeps.custom.session import CustomTrainer

        return CustomTrainer(spec, artifacts)


def started_from(train: str) -> CustomSpec:
    """Return a spec to start from for a function; raise a SpecError if it cannot be read."""
    _check_there("trainer.train", train)
    return presets.start(train, in_child(function.signature, train))


def in_child(check: Any, *arguments: Any) -> Any:
    """Run a function of `sweeps.custom.function` on a user's file in a child process, as the file may do anything."""
    try:
        return run_in_subprocess(check, *arguments, on_step=lambda: None, seconds=IMPORT_S)
    except SubprocessFailed as error:
        raise SpecError(
            f"trainer.train: {arguments[0]!r} cannot be imported: {error}; let the file only define its functions"
        ) from None
    except KdError as error:
        raise SpecError(str(error)) from None


def _check_there(key: str, name: str) -> None:
    if not code.is_code(name):
        raise SpecError(f"{key}: got {name!r}; allowed: ./file.py:function or package.module:function")
    if not code.is_there(name):
        raise SpecError(f"{key}: got {name!r}; {missing(name)}")


def _features(table: CustomTable) -> Features:
    known: dict[str, Any] = {"score": table.score.as_score(), "exact": table.exact, "defaults": tuple(table.defaults)}
    if not table.tests and (table.command or table.test == NO_TEST):
        known["tested"] = "fresh seeds"  # on the data that selected the points
    if not table.untreated:
        return Features(**known)
    point = _text(table.untreated)
    return Features(
        **known,
        untreated=UNTREATED,
        without=point,
        plain=f"Train with {point}",
        better=point,
        untreated_training=f"training with {point}",
        untreated_network=f"the model trained with {point}",
    )


def _arms(table: CustomTable) -> Iterator[Arm]:
    yield NATIVE
    yield BEST
    yield RANDOM
    for name in table.defaults:
        yield Arm(
            key=name,
            label=f"{name[0].upper()}{name[1:]}, untuned",
            method=_text(table.defaults[name]),
            point=lambda context, name=name: context.spec.trainer.point(table.defaults[name]),  # type: ignore[misc]
            standard=3,
            early=name == next(iter(table.defaults)),
            owner="the" if name == "default" else f"the {name}",
        )
    if table.untreated:
        yield Arm(
            key=UNTREATED,
            label=f"Untreated: {_escaped(_text(table.untreated))}",
            method="",  # in its label
            point=lambda context: context.spec.trainer.point(table.untreated),
            standard=2,
            repeats=True,
            early=True,
        )


def _text(point: Mapping[str, Value]) -> str:
    return Point.of(point).text()


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")  # labels are format strings


def _with(bounds: Range | Whole | Categorical, values: Sequence[Any]) -> Range | Whole | Categorical:
    if isinstance(bounds, Categorical):
        return Categorical(tuple(dict.fromkeys([*bounds.options, *values])))
    return type(bounds)(min(bounds.low, *values), max(bounds.high, *values), log=bounds.log) if values else bounds


def _name(table: CustomTable, text: str) -> str:
    """Return the short name of a function or a command: "train.py:train", "python train.py"."""
    return command.program(text) if table.command else os.path.basename(text)


KIND = CustomKind()

"""What a user asks for: a preset or a file, what is changed in it, and the datasets and models of all its roles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd.errors import DataError
from kd.teachers.logits_file import PREFIX, read
from sweeps.errors import SpecError
from sweeps.spec import presets
from sweeps.spec.model import ROLES, Spec, override


@dataclass(frozen=True)
class Asked:
    """The options of `run` and `create` that make a spec.

    base: a preset, or what a file holds; None is preset quick. changes: dotted keys, as in
    `sweeps.spec.model.override`. source, targets: datasets, as in `sweeps.spec.presets.on`. dataset: one alone, in
    their place. teacher, student: of every dataset for which `changes` name no other.
    """

    base: Spec | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    targets: Sequence[str] = ()
    teacher: str | None = None
    student: str | None = None
    dataset: str | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing but the name of a sweep was given."""
        return not (
            self.base or self.changes or self.source or self.targets or self.dataset or self.teacher or self.student
        )

    def spec(self) -> Spec:
        """Return the spec that all this makes.

        Raises:
            SpecError: it makes none.
        """
        if self.dataset and (self.source or self.targets):
            other = "--source" if self.source else "--target"
            raise SpecError(f"--dataset is one dataset alone, without a target; leave out --dataset or {other}")
        for role, name in zip(ROLES, (self.dataset or self.source, *self.targets), strict=False):
            other = self.changes.get(f"{role}.dataset", name)
            if name and other != name:
                raise SpecError(f"{role}.dataset: got {name!r} and, by --set, {other!r}; give one of them")
        base = self.base or presets.preset("quick")
        if self.dataset:
            placed = presets.on(base, source=self.dataset, alone=True)
        else:
            placed = presets.on(base, source=self.source, targets=self.targets)
        taught = {f"{role}.teacher": self.teacher for role in _taught_by(placed, self.teacher)} if self.teacher else {}
        learning = {f"{role}.student": self.student for role in placed.roles} if self.student else {}
        return override(placed, taught | learning | dict(self.changes))


def _taught_by(spec: Spec, teacher: str) -> Sequence[str]:
    """Return the roles that a teacher is meant for: all of them, or the one whose dataset its file names."""
    if not teacher.startswith(PREFIX):
        return spec.roles
    try:
        dataset = read(Path(teacher.removeprefix(PREFIX)).expanduser()).dataset
    except DataError as error:
        raise SpecError(f"--teacher: {error}") from None
    return [role for role in spec.roles if spec.role(role).dataset == dataset] or spec.roles

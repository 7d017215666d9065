"""Parse the names of teachers, without importing Keras or TensorFlow."""

from dataclasses import dataclass

from kd.baselines.applications import PRETRAINED
from kd.config import MODEL_NAMES
from kd.errors import ModelError, suggestion
from kd.tools.code import file_of, is_code

FORMS = (
    f"{' | '.join(MODEL_NAMES)} | pretrained:NAME | baseline:autokeras | logits:FILE.npz | package.module:build"
    " | ./file.py:build"
)


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher in a spec.

    Attributes:
        name: as written.
        method: the comparison method that makes it, a key of `kd.baselines.methods.METHODS`; None for a model to train,
            with that name in `kd.models.named.build`, and for a file.
        logits: the file of its logits, see `kd.teachers.logits_file`; empty for any other teacher.
    """

    name: str
    method: str | None
    logits: str = ""

    @property
    def is_trained(self) -> bool:
        """Whether it is trained here, from scratch."""
        return self.method is None and not self.logits

    @property
    def builder(self) -> str:
        """The user's "package.module:function" that builds it; "" if none does."""
        return self.name if self.is_trained and ":" in self.name else ""


def parse_teacher(name: str) -> Teacher:
    """Parse the name of a teacher, one of the `FORMS`.

    NAME is a network of `kd.baselines.applications`, such as MobileNetV2, in upper or lower case; with the suffix
    "-tuned" its last stage is trained, too.

    Raises:
        ModelError: one line with the name and the allowed ones. A user's module is imported only when the teacher is
            built.
    """
    if file_of(name) is not None and is_code(name):
        return Teacher(name=name, method=None)
    kind, colon, rest = name.partition(":")
    if not colon:
        return Teacher(name=_one_of(name, MODEL_NAMES, "teacher", allowed=FORMS), method=None)
    if kind == "logits":
        if not rest:
            raise ModelError(f"teacher {name!r} names no file. Allowed: {FORMS}")
        return Teacher(name=name, method=None, logits=rest)
    if kind == "pretrained":
        return Teacher(name=name, method=_one_of(rest.lower(), PRETRAINED, "pretrained network"))
    if kind == "baseline":
        return Teacher(name=name, method=_one_of(rest, ("autokeras",), "baseline to teach"))
    if not all(part.isidentifier() for part in (*kind.split("."), rest)):
        raise ModelError(f"no teacher {name!r}. Allowed: {FORMS}")
    return Teacher(name=name, method=None)


def _one_of(name: str, names: tuple[str, ...], what: str, *, allowed: str = "") -> str:
    if name in names:
        return name
    raise ModelError(f"no {what} {name!r}{suggestion(name, names)} Allowed: {allowed or ', '.join(names)}")

"""Refuse specs that would let a request reach files or run code on the server."""

import re

from kd.data.datasets import NAMES
from kd.teachers.logits_file import PREFIX
from kd.tools.code import is_code
from sweeps.errors import NotAllowed
from sweeps.hints import here
from sweeps.spec.model import Spec

_A_NAME = re.compile(r"[A-Za-z0-9_.:+-]*")


def check_allowed(spec: Spec, *, allow_code: bool) -> None:
    """Let a spec pass that names datasets and models by the names we gave them.

    Args:
        allow_code: whether package.module:build may stand for a model or a sampler.

    Raises:
        NotAllowed: it names a file, or code where that is not allowed.
    """
    if spec.code:
        raise _refused("code", next(iter(spec.code)), "no request names a file on the server; one that does")
    named = [("search.sampler", spec.search.sampler), ("training.distillation", spec.training.distillation)]
    for role in spec.roles:
        part = spec.role(role)
        if part.dataset not in NAMES:
            raise _refused(f"{role}.dataset", part.dataset, f"allowed over HTTP: {', '.join(NAMES)}; a file")
        named += [(f"{role}.teacher", part.teacher), (f"{role}.student", part.student)]
    for key, name in named:
        if name.startswith(PREFIX) or not _A_NAME.fullmatch(name):
            raise _refused(key, name, "no request names a file on the server; one that does")
        if is_code(name) and not allow_code:
            raise NotAllowed(
                f"{key}: got {name!r}, which is Python code; this service runs none that a request names (its operator"
                f" can start it with --allow-code); a sweep with it is made where its database is: {_create()}"
            )


def _refused(key: str, value: str, why: str) -> NotAllowed:
    shown = value if len(value) <= 80 else f"{value[:77]}..."
    return NotAllowed(f"{key}: got {shown!r}; {why} is used where the database of the service is: {_create()}")


def _create() -> str:
    return here().create("NAME", "my.toml")

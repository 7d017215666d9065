"""Tell what a worker of a sweep needs beside the storage: the user's own modules, data files, pretrained weights."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from kd.baselines.applications import APPLICATIONS, TUNED
from kd.baselines.weights import find_weights
from kd.errors import ModelError
from kd.teachers.names import parse_teacher
from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Need:
    """One thing that a worker needs. how: where it looks for it. here: whether this machine has it."""

    what: str
    how: str
    here: bool


def needs(spec: Spec) -> list[Need]:
    """Return what workers of a sweep need beside the storage; nothing for most sweeps on the datasets by name."""
    parts = [spec.role(role) for role in spec.roles]
    named = [spec.search.sampler, *(name for part in parts for name in (part.teacher, part.student))]
    modules = dict.fromkeys(name.partition(":")[0] for name in named if names_code(name))
    files = [part.dataset for part in parts if part.dataset.endswith(".npz")]
    files += [file for part in parts if (file := part.teacher.removeprefix("logits:")) != part.teacher]
    found = [Need(f"module {name}", "on its PYTHONPATH", _has_module(name)) for name in modules]
    found += [Need(name, "at the same path", Path(name).is_file()) for name in dict.fromkeys(files)]
    if networks := _networks(spec):
        missing = [name for name in networks if not _has_weights(name)]
        what = f"ImageNet weights of {', '.join(networks)}"
        found.append(Need(what, "(--weights DIR, or a download)", not missing))
    return found


def names_code(name: str) -> bool:
    """Return whether a model or sampler of a spec is Python code of its user: package.module:make."""
    return ":" in name and not name.startswith(("pretrained:", "baseline:", "logits:"))


def _has_module(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _networks(spec: Spec) -> list[str]:
    """Return the pretrained networks among the comparison methods and the teachers."""
    methods = [method for role in spec.roles for method in spec.baselines_on(role)]
    for role in spec.roles:
        try:
            methods.append(parse_teacher(spec.role(role).teacher).method or "")
        except ModelError:
            continue  # of another version: whoever trains it says so
    return list(dict.fromkeys(name for method in methods if (name := method.removesuffix(TUNED)) in APPLICATIONS))


def _has_weights(name: str) -> bool:
    one = APPLICATIONS[name]
    return find_weights(one.weights_file, one.weights_package) is not None

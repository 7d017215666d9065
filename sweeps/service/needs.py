"""Tell what a worker of a sweep needs beside the storage: the user's own modules, data files, pretrained weights."""

from dataclasses import dataclass
from pathlib import Path

from kd.baselines.applications import APPLICATIONS, TUNED, find_weights
from kd.data.custom import kind_of
from kd.data.datasets import is_own
from kd.errors import ModelError
from kd.teachers.names import parse_teacher
from kd.tools import code
from sweeps.spec.code import named_code
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
    found = list(dict.fromkeys(_code(name) for _, name in named_code(spec)))
    files = [part.dataset for part in parts if is_own(part.dataset) and kind_of(part.dataset) != "function"]
    files += [file for part in parts if (file := part.teacher.removeprefix("logits:")) != part.teacher]
    found += [Need(name, "at the same path", Path(name).exists()) for name in dict.fromkeys(files)]
    if networks := _networks(spec):
        missing = [name for name in networks if not has_weights(name)]
        what = f"ImageNet weights of {', '.join(networks)}"
        found.append(Need(what, "(--weights DIR, or a download)", not missing))
    return found


def _code(name: str) -> Need:
    if (path := code.file_of(name)) is None:
        return Need(f"module {name.partition(':')[0]}", "on its PYTHONPATH", code.is_there(name))
    how = f"at the same path, or in the folder that {code.FOLDER_VARIABLE} names"
    return Need(name.rpartition(":")[0], how, path.is_file())


def _networks(spec: Spec) -> list[str]:
    """Return the pretrained networks among the comparison methods and the teachers."""
    methods = [method for role in spec.roles for method in spec.baselines_on(role)]
    for role in spec.roles:
        try:
            methods.append(parse_teacher(spec.role(role).teacher).method or "")
        except ModelError:
            continue  # of another version: whoever trains it says so
    return list(dict.fromkeys(name for method in methods if (name := method.removesuffix(TUNED)) in APPLICATIONS))


def has_weights(method: str) -> bool:
    """Return whether a comparison method is a pretrained network whose weights are on this machine."""
    one = APPLICATIONS.get(method.removesuffix(TUNED))
    return one is not None and find_weights(one.weights_file, one.weights_package) is not None

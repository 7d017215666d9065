"""Check the datasets, models, losses and weights of a spec on this machine, and freeze them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from kd.baselines.applications import APPLICATIONS, TUNED, has_weights
from kd.config import MODEL_NAMES
from kd.data import arrays, custom, datasets
from kd.errors import CodeError, DataError, ModelError, NotHere, SubprocessFailed
from kd.losses.builtin import LOSSES
from kd.losses.loss import Loss, is_users
from kd.teachers.logits_file import PREFIX, aligned, digest, read
from kd.teachers.names import parse_teacher
from kd.tools import code
from kd.tools.processes import run_in_subprocess
from sweeps.distill import jobs as child_jobs
from sweeps.distill.spec import DatasetSpec, KdSearch, KdSpec, check_parameters
from sweeps.errors import SpecError
from sweeps.extensions import require
from sweeps.hints import local
from sweeps.spec import tables
from sweeps.spec.model import override
from sweeps.spec.stored import missing, needed_code
from sweeps.trainers.names import RESERVED_NEW
from sweeps.trainers.protocol import Need

FUNCTION_S = 3600.0  # of a function that returns a dataset, which it may generate
START_S = 60.0  # of TensorFlow, which takes 5 on an idle core
BUILD_S = 60.0  # of one model
LOSS_S = 120.0  # of TensorFlow's start and of one loss
MOST_NAMES = 8  # of classes that are shown
_LOSS_KEY = "training.distillation"
_NO_T = (1.0, 1.0)
_DEFAULT_T = (_NO_T, KdSearch.model_fields["temperature"].default)  # every preset has the default
_RETURNED: dict[tuple[str, str], datasets.Contents] = {}


def contents(part: DatasetSpec, data_dir: Path | None) -> datasets.Contents:
    """Return a summary of a dataset; a user's function is called once, in a child process: it may do anything.

    Raises kd.errors.DataError if it is missing or not a dataset.
    """
    if not datasets.is_own(part.dataset) or custom.kind_of(part.dataset) != "function":
        return datasets.contents(part.dataset, data_dir, part.size)
    try:
        key = part.dataset, code.hash_of(part.dataset)
    except CodeError as error:
        raise DataError(f"cannot import dataset {part.dataset!r} here: {error}") from None
    if key in _RETURNED:
        return _RETURNED[key]
    try:
        _RETURNED[key] = run_in_subprocess(
            child_jobs.read_users_data, part.dataset, part.size, on_step=lambda: None, seconds=FUNCTION_S
        )
    except SubprocessFailed as error:
        raise DataError(f"dataset {part.dataset!r} cannot be read: {error}") from None
    except MemoryError:  # the arrays fit, but not with their checked copies
        memory = arrays.format_bytes(arrays.memory_bytes())
        raise DataError(
            f"dataset {part.dataset!r} needs more memory than this machine has ({memory}); give fewer or smaller images"
        ) from None
    return _RETURNED[key]


def with_images(spec: KdSpec, data_dir: Path | None) -> KdSpec:
    left_out = [role for role in spec.roles if not spec.role(role).images]
    return override(spec, {f"{role}.images": contents(spec.role(role), data_dir).training_images for role in left_out})


def frozen_data(role: str, part: DatasetSpec, data: datasets.Contents) -> dict[str, Any]:
    if part.images > data.training_images:
        raise SpecError(
            f"{role}.images: got {part.images}; {part.dataset} has {data.training_images} training images "
            "besides the validation images"
        )
    if part.content_hash and part.content_hash != data.content_hash:
        raise SpecError(
            f"{role}.content_hash: got {part.content_hash[:12]}, but {part.dataset} here has "
            f"{data.content_hash[:12]}; remove the line to use this content"
        )
    changes: dict[str, Any] = {f"{role}.content_hash": data.content_hash}
    if datasets.is_own(part.dataset):
        return changes | {f"{role}.dataset": custom.frozen_name(part.dataset)}
    if part.size:
        raise SpecError(f"{role}.size: got {list(part.size)}; {part.dataset} has its own size; remove the line")
    if part.name:
        raise SpecError(f"{role}.name: got {part.name!r}; {part.dataset} has its own name; remove the line")
    return changes


def freeze(spec: KdSpec, data_dir: Path | None) -> KdSpec:
    """Return the spec with checked datasets and models, and the hash of each dataset.

    Raises SpecError with the wrong key, kd.errors.DataError if a dataset cannot be read.
    """
    spec = with_images(spec, data_dir)
    changes: dict[str, Any] = {}
    for key in spec.roles:
        role = spec.role(key)
        changes |= frozen_data(key, role, contents(role, data_dir))
        changes |= _check_teacher(key, role, data_dir)
        _check_model(f"{key}.student", role.student)
    changes |= frozen_loss(spec, contents(spec.source, data_dir).classes)
    frozen = override(spec, changes)
    check_names(frozen)
    return frozen


def _check_teacher(key: str, role: DatasetSpec, data_dir: Path | None) -> dict[str, str]:
    name = role.teacher
    if not name.startswith(("pretrained:", "baseline:", PREFIX)):
        _check_model(f"{key}.teacher", name)
        return {}
    try:
        file = parse_teacher(name).logits
        return _frozen_logits(key, role, Path(file).expanduser().absolute(), data_dir) if file else {}
    except (ModelError, DataError) as error:
        raise SpecError(f"{key}.teacher: got {name!r}; {error}") from None


def _frozen_logits(key: str, role: DatasetSpec, path: Path, data_dir: Path | None) -> dict[str, str]:
    if role.augment != "none":
        raise SpecError(
            f"{key}.augment: got {role.augment!r}; allowed: none, because a file holds the logits of plain images"
        )
    dataset = datasets.load(role.dataset, train_images=role.images, data_dir=data_dir, size=role.size)
    actual = digest(aligned(read(path), dataset))
    if role.logits_hash and role.logits_hash != actual:
        raise SpecError(
            f"{key}.logits_hash: got {role.logits_hash[:12]}, but {path} has logits {actual[:12]} for these images;"
            " remove the line to use them"
        )
    return {f"{key}.teacher": f"{PREFIX}{path}", f"{key}.logits_hash": actual}


def _check_model(key: str, name: str) -> None:
    # The full check needs TensorFlow and comes with the first task; this catches a misspelt name at once.
    if ":" in name:
        if not code.is_there(name):
            raise SpecError(f"{key}: got {name!r}; {missing(name)}")
    elif name not in MODEL_NAMES:
        names = tables.meant(name, MODEL_NAMES) + ", ".join(MODEL_NAMES)
        raise SpecError(f"{key}: got {name!r}; allowed: {names}, package.module:build or ./file.py:build")


def check_names(spec: KdSpec) -> None:
    """Check that datasets have different names, none of a public dataset, and different images.

    A report could not distinguish equal names, and between equal images there is no transfer.
    """
    called: dict[str, str] = {}
    for role in spec.roles:
        part = spec.role(role)
        name = part.name or Path(part.dataset).name
        if name in datasets.NAMES and part.dataset != name:
            raise SpecError(f"{role}.name: got {name!r}, the name of a built-in dataset; choose another name")
        if name in called:
            raise SpecError(
                f"{called[name]}.dataset and {role}.dataset are both called {name}; give one another name:"
                f" {local().line('create', 'NAME', f'--set {role}.name=OTHER')}"
            )
        called[name] = role
        for other in called.values():
            if other != role and spec.role(other).content_hash == part.content_hash:
                raise SpecError(
                    f"{other}.dataset and {role}.dataset hold the same images and labels; give two datasets, or search"
                    f" on this one only: {local().line('create', 'NAME', f'--dataset {quote(part.dataset)}')}"
                )


def data_lines(spec: KdSpec, data_dir: Path | None) -> list[str]:
    lines = []
    for role, part in zip(spec.roles, spec.parts, strict=True):
        if datasets.is_own(part.dataset):
            data = contents(part, data_dir)
            lines += [f"{role:<8} {text}" for text in (_summary(part, data), *data.notes)]
    return lines


def _summary(part: DatasetSpec, data: datasets.Contents) -> str:
    # The name of a folder may have a newline.
    names = ", ".join(" ".join(name.split()) for name in data.class_names[:MOST_NAMES])
    names += ", ..." if len(data.class_names) > MOST_NAMES else ""
    shape = " x ".join(map(str, data.input_shape))
    return (
        f"{part.name or Path(part.dataset).name}: {data.training_images:,} training, {data.validation_images:,}"
        f" validation, {data.test_images:,} test images of {shape}, {data.classes} classes"
        + (f": {names}" if names else "")
    )


def frozen_loss(spec: KdSpec, classes: int) -> dict[str, Any]:
    """Return the changes of a spec for its loss: the parameters of a user's, and a range [1, 1] of an unused T.

    A loss without T is searched over alpha only; it is an error if the spec sets a range of T.
    """
    name = spec.training.distillation
    for parameter in spec.search.space:
        if parameter in RESERVED_NEW and is_users(name):
            raise SpecError(
                f"search.space: got {parameter!r}, which is a column in the records of a sweep; give this parameter of"
                f" {name} another name, such as {parameter}_weight"
            )
    loss = LOSSES.get(name) or _tried(name, classes)
    if loss.name == "kd":
        return {}
    if not loss.uses_temperature and spec.search.temperature not in _DEFAULT_T:
        raise SpecError(
            f"search.temperature: got {list(spec.search.temperature)}, but loss {name} does not use T; remove the"
            " setting, or choose another loss"
        )
    changes: dict[str, Any] = {} if loss.uses_temperature else {"search.temperature": _NO_T}
    if not is_users(name):
        return changes
    try:
        check_parameters(loss, spec.search.space, spec.training.loss_parameters)
        own = loss.values(spec.training.loss_parameters)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return changes | {"training.loss_parameters": own}


def _tried(name: str, classes: int) -> Loss:
    if not code.is_there(name):
        raise SpecError(f"{_LOSS_KEY}: got {name!r}; {missing(name)}")
    require("keras", "your own loss")
    check = child_jobs.check_users_loss
    try:
        tried: Loss = run_in_subprocess(check, name, classes, on_step=lambda: None, seconds=LOSS_S)
        return tried
    except (ModelError, NotHere) as error:
        raise SpecError(f"{_LOSS_KEY}: {error}") from None
    except SubprocessFailed as error:
        raise SpecError(f"{_LOSS_KEY}: loss {name!r} cannot be tried: {error}") from None


def check_users_models(spec: KdSpec, *, data_dir: Path | None = None) -> None:
    """Build each model of a spec from a user's code once, in a child process: it may do anything.

    This takes some seconds for each such model. `create` reports invalid names.
    """
    jobs: dict[tuple[str, tuple[int, int, int], int], str] = {}
    for key, name, part in _users(spec):
        data = contents(part, data_dir)
        jobs.setdefault((name, data.input_shape, data.classes), key)
    if not jobs:
        return
    require("keras", "your own model")
    begun: list[int] = []
    try:
        run_in_subprocess(
            child_jobs.check_users_models,
            list(jobs),
            on_step=lambda: None,
            on_report=begun.append,
            seconds=START_S + BUILD_S * len(jobs),
        )
    except (ModelError, NotHere) as error:
        raise SpecError(f"{list(jobs.values())[begun[-1]]}: {error}") from None
    except SubprocessFailed as error:
        (name, _, _), key = list(jobs.items())[begun[-1] if begun else 0]
        raise SpecError(f"{key}: model {name!r} cannot be built: {error}") from None


def _users(spec: KdSpec) -> Iterator[tuple[str, str, DatasetSpec]]:
    """Yield (key of the spec, name, role) of each model that a user's module builds."""
    for role, part in zip(spec.roles, spec.parts, strict=True):
        for key, name in ((f"{role}.teacher", part.teacher), (f"{role}.student", part.student)):
            with contextlib.suppress(ModelError):  # `create` reports an invalid name
                if ":" in name and parse_teacher(name).is_trained and code.is_there(name):
                    yield key, name, part


def requirements(spec: KdSpec) -> list[Need]:
    """Return the requirements of workers besides the storage; most sweeps on built-in datasets have none."""
    needed = needed_code(spec)
    own = [part.dataset for part in spec.parts if datasets.is_own(part.dataset)]
    files = [name for name in own if custom.kind_of(name) != "function"]
    files += [file for part in spec.parts if (file := part.teacher.removeprefix("logits:")) != part.teacher]
    needed += [Need(name, "at the same path", Path(name).exists()) for name in dict.fromkeys(files)]
    if networks := _networks(spec):
        missing = [name for name in networks if not has_weights(name)]
        what = f"ImageNet weights of {', '.join(networks)}"
        needed.append(Need(what, "(--weights DIR, or a download)", not missing))
    return needed


def _networks(spec: KdSpec) -> list[str]:
    methods = [method for role in spec.roles for method in spec.baselines_on(role)]
    for part in spec.parts:
        with contextlib.suppress(ModelError):  # a name from another version: its training will raise
            methods.append(parse_teacher(part.teacher).method or "")
    return list(dict.fromkeys(name for method in methods if (name := method.removesuffix(TUNED)) in APPLICATIONS))

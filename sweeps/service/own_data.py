"""Look into the datasets of a spec before a sweep is created, those of a user's own above all."""

from pathlib import Path
from typing import Any

from kd.data import datasets
from kd.data.arrays import memory_bytes, said_bytes
from kd.data.custom import frozen_name, kind_of
from kd.data.datasets import Contents
from kd.errors import CodeError, DataError, SubprocessFailed
from kd.tools import code
from kd.tools.processes import run_in_subprocess
from sweeps.errors import SpecError
from sweeps.hints import here
from sweeps.spec.model import Spec, override
from sweeps.spec.tables import DatasetSpec
from sweeps.workers import subprocess_jobs

FUNCTION_S = 3600.0  # of a function that returns a dataset, which may have to make it
MOST_NAMES = 8  # of classes that are shown

_RETURNED: dict[tuple[str, str], Contents] = {}


def contents(part: DatasetSpec, data_dir: Path | None) -> Contents:
    """Return what is in a dataset; a user's function is called once, in a child process: it may do anything.

    Raises:
        kd.errors.DataError: it is missing or no dataset.
    """
    if not datasets.is_own(part.dataset) or kind_of(part.dataset) != "function":
        return datasets.contents(part.dataset, data_dir, part.size)
    try:
        key = part.dataset, code.hash_of(part.dataset)
    except CodeError as error:
        raise DataError(f"cannot import dataset {part.dataset!r} here: {error}") from None
    if key not in _RETURNED:
        _RETURNED[key] = _returned(part)
    return _RETURNED[key]


def _returned(part: DatasetSpec) -> Contents:
    try:
        found: Contents = run_in_subprocess(
            subprocess_jobs.read_users_data, part.dataset, part.size, on_step=lambda: None, seconds=FUNCTION_S
        )
    except SubprocessFailed as error:
        raise DataError(f"dataset {part.dataset!r} cannot be made: {error}") from None
    except MemoryError:  # the arrays fit, and what is made of them beside them does not
        raise DataError(
            f"dataset {part.dataset!r} needs more memory than this machine has ({said_bytes(memory_bytes())}); give"
            " fewer or smaller images"
        ) from None
    return found


def with_images(spec: Spec, data_dir: Path | None) -> Spec:
    """Return the spec with the number of training images filled in where it says all of them.

    Raises:
        SpecError: fewer than a batch.
        kd.errors.DataError: a dataset is missing or no dataset.
    """
    left_out = [role for role in spec.roles if not spec.role(role).images]
    return override(spec, {f"{role}.images": contents(spec.role(role), data_dir).training_images for role in left_out})


def frozen_data(role: str, part: DatasetSpec, data: Contents) -> dict[str, Any]:
    """Return what a spec keeps of a dataset, as changes of it.

    Raises:
        SpecError: the dataset is too small, or other than the spec says.
    """
    if part.images > data.training_images:
        raise SpecError(
            f"{role}.images: got {part.images}; {part.dataset} has {data.training_images} training images "
            "once validation is set aside"
        )
    if part.content_hash and part.content_hash != data.content_hash:
        raise SpecError(
            f"{role}.content_hash: got {part.content_hash[:12]}, but {part.dataset} here has "
            f"{data.content_hash[:12]}; remove the line to take this content"
        )
    changes: dict[str, Any] = {f"{role}.content_hash": data.content_hash}
    if datasets.is_own(part.dataset):
        return changes | {f"{role}.dataset": frozen_name(part.dataset)}
    if part.size:
        raise SpecError(f"{role}.size: got {list(part.size)}; {part.dataset} has a size of its own: remove the line")
    if part.name:
        raise SpecError(f"{role}.name: got {part.name!r}; {part.dataset} has a name of its own: remove the line")
    return changes


def check_names(spec: Spec) -> None:
    """Check that no two datasets are called the same, nor one like a public one, and that no two hold the same images.

    A report could not tell the former apart, and between the latter nothing is transferred.

    Raises:
        SpecError: they are.
    """
    called: dict[str, str] = {}
    for role in spec.roles:
        part = spec.role(role)
        name = part.name or Path(part.dataset).name
        if name in datasets.NAMES and part.dataset != name:
            raise SpecError(f"{role}.name: got {name!r}, which is a dataset of ours; allowed: any other name")
        if name in called:
            raise SpecError(
                f"{called[name]}.dataset and {role}.dataset are both called {name}; give one of them another name:"
                f" {here().create('NAME', f'--set {role}.name=OTHER')}"
            )
        called[name] = role
        for other in called.values():
            if other != role and spec.role(other).content_hash == part.content_hash:
                raise SpecError(
                    f"{other}.dataset and {role}.dataset hold the same images and labels; give two datasets, or search"
                    f" on this one alone: {here().create('NAME', f'--dataset {part.dataset}')}"
                )


def found_lines(spec: Spec, data_dir: Path | None) -> list[str]:
    """Return what was found in each own dataset of a spec: images, shape and classes, and what was changed."""
    lines = []
    for role in spec.roles:
        part = spec.role(role)
        if datasets.is_own(part.dataset):
            data = contents(part, data_dir)
            lines += [f"{role:<8} {text}" for text in (_found(part, data), *data.notes)]
    return lines


def _found(part: DatasetSpec, data: Contents) -> str:
    names = ", ".join(" ".join(name.split()) for name in data.class_names[:MOST_NAMES])  # a folder's may have a newline
    names += ", ..." if len(data.class_names) > MOST_NAMES else ""
    shape = " x ".join(map(str, data.input_shape))
    return (
        f"{part.name or Path(part.dataset).name}: {data.training_images:,} training, {data.validation_images:,}"
        f" validation, {data.test_images:,} test images of {shape}, {data.classes} classes"
        + (f": {names}" if names else "")
    )

"""Create a sweep: check the spec against this machine, freeze it, and write it down once."""

import contextlib
import importlib.util
from difflib import get_close_matches
from pathlib import Path

import sqlalchemy

from kd.config import LOSS_FORMULA, MODEL_NAMES
from kd.data import datasets
from kd.errors import ModelError
from kd.teachers.names import parse_teacher
from storage.db import engine as engines
from storage.db import schema
from storage.errors import NotAStorage, SweepNotFound
from storage.failpoints import failpoint
from storage.queue import plans
from storage.records import queries
from storage.records.queries import RevisionRecord
from storage.studies.names import study_name
from sweeps.errors import SpecError
from sweeps.plan.tasks import STAGES, make_plan
from sweeps.spec.model import Spec, check_name, difference, override
from sweeps.spec.tables import DatasetSpec
from sweeps.workers.environment import provenance


def create_sweep(url: sqlalchemy.URL, name: str, spec: Spec, *, data_dir: Path | None = None) -> bool:
    """Write a sweep with all its tasks and studies. True when it is new, False when it was there already.

    The sweep row is the commit point: a create that is killed before it leaves nothing that counts, and
    the next one completes it. A study that was deleted in the dashboard is made again, empty.

    Raises:
        SpecError: the name, a dataset or a model cannot be used, or another spec has this name.
        storage.errors.StorageError: the storage cannot be written.
    """
    check_name(name)
    spec = resolve(spec, data_dir=data_dir)
    known = find(url, name)
    if known:
        refuse_another(name, known, spec)
    from storage.studies import adapter  # Optuna takes a second: a spec that is refused does not pay for it

    plan = make_plan(spec)
    with engines.create_lock(url), contextlib.closing(adapter.open_studies(url, create=True)) as opened:
        failpoint("create-locked")
        schema.create_tables(opened.engine)
        failpoint("create-tables")
        for stage in STAGES:
            measure = stage == "measure"
            opened.create(
                study_name(name, stage),
                direction="minimize" if measure else "maximize",
                metric="latency_ms_p50" if measure else "val_accuracy",
                attrs={"sweep": name, "stage": stage, "loss": LOSS_FORMULA, "fingerprint": spec.fingerprint},
                note=_note(name, stage, spec),
            )
            failpoint("create-study")
        failpoint("create-studies")
        return plans.insert_sweep(
            opened.engine,
            name=name,
            spec=spec.as_dict(),
            fingerprint=spec.fingerprint,
            provenance=provenance(),
            phases=plan.phases,
            tasks=plan.tasks,
        )


def find(url: sqlalchemy.URL, name: str) -> list[RevisionRecord]:
    """The plans of the sweep of that name, the first one first; none where there is no such sweep, or storage."""
    try:
        engine = engines.open_engine(url, read_only=True)
    except NotAStorage:
        return []  # nothing there, or something that creating will refuse with the reason
    try:
        return queries.revisions(engine, queries.find_sweep(engine, name).id)
    except SweepNotFound:
        return []
    finally:
        engine.dispose()


def refuse_another(name: str, known: list[RevisionRecord], spec: Spec) -> None:
    """Nothing if the sweep that is there has this spec, or began with it; else a SpecError with the difference."""
    if spec.fingerprint in {revision.fingerprint for revision in known}:
        return
    changes = difference(known[0].spec, spec.as_dict())
    raise SpecError(
        f"sweep {name} exists with another spec ({'; '.join(changes)}); choose another name, or go on with "
        f"the one that is there: kd-sweeps launch {name}"
    )


def resolve(spec: Spec, *, data_dir: Path | None = None) -> Spec:
    """The spec with its datasets checked and the hash of their content frozen in."""
    changes = {}
    for key in spec.roles:
        role = spec.role(key)
        content = datasets.content_hash(role.dataset, data_dir)
        most = datasets.training_images(role.dataset, data_dir)
        if role.images > most:
            raise SpecError(
                f"{key}.images: got {role.images}; {role.dataset} has {most} training images "
                "once validation is set aside"
            )
        if role.content_hash and role.content_hash != content:
            raise SpecError(
                f"{key}.content_hash: got {role.content_hash[:12]}, but {role.dataset} here has "
                f"{content[:12]}; remove the line to take this content"
            )
        changes[f"{key}.content_hash"] = content
        if role.dataset.endswith(".npz"):
            changes[f"{key}.dataset"] = str(Path(role.dataset).expanduser().absolute())
        _check_teacher(f"{key}.teacher", role.teacher)
        _check_model(f"{key}.student", role.student)
    return override(spec, changes)


def _check_teacher(key: str, name: str) -> None:
    if not name.startswith(("pretrained:", "baseline:")):
        _check_model(key, name)
        return
    try:
        parse_teacher(name)
    except ModelError as error:
        raise SpecError(f"{key}: got {name!r}; {error}") from None


def _check_model(key: str, name: str) -> None:
    # The full check needs TensorFlow and comes with the first task; a typing error is caught here, at once.
    if ":" in name:
        module = name.split(":")[0]
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise SpecError(f"{key}: got {name!r}; no module {module!r} on this machine's Python path")
    elif name not in MODEL_NAMES:
        near = get_close_matches(name, MODEL_NAMES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SpecError(f"{key}: got {name!r}{hint}; allowed: {', '.join(MODEL_NAMES)}, or package.module:build")


def _note(name: str, stage: str, spec: Spec) -> str:
    def line(role: DatasetSpec) -> str:
        return f"{role.dataset} ({role.images} images, teacher {role.teacher}, student {role.student})"

    text = (
        f"# {name}: stage {stage}\n\n"
        f"Loss: `{LOSS_FORMULA}`; alpha weighs the labels.\n\n"
        f"Source: {line(spec.source)}. Target: {'; '.join(line(spec.role(role)) for role in spec.targets)}.\n\n"
        f"`kd-sweeps best {name}` gives the confirmed best: the trophy here is the luckiest single run.\n"
    )
    return f"**{spec.note}**\n\n{text}" if spec.note else text

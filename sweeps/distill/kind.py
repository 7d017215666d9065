"""Define the trainer "kd": distillation of image classifiers with Keras."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd.losses.builtin import LOSSES
from storage.studies.space import Space
from sweeps.distill import space
from sweeps.distill.arms import (
    ARMS,
    FOUND_NETWORK,
    SAME_COST,
    SCRATCH,
    SCRATCH_OWN,
    SCRATCH_TUNED,
    UNTUNED,
    trained_with,
)
from sweeps.distill.snippets import snippets
from sweeps.distill.space import PAPER
from sweeps.distill.spec import DatasetSpec, KdSpec, formula
from sweeps.plan import phases, plan
from sweeps.spec.model import ROLES
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Artifacts, Check, Features, Need, Point, ReportParts, RunKind, Trainer, TrainerKind

if TYPE_CHECKING:
    from sweeps.findings.load import Provenance, StoredSweep
    from sweeps.usecases.create import SpecRequest

# Cost of a training image relative to a student's, measured in presets tiny and quick: a teacher's network is larger,
# and a comparison method is usually an ImageNet network. Rough values suffice: finished tasks soon give better ones.
_TEACHER = 6
_METHOD = 20
_CORES = 2  # of MINUTES
SAME_COST_SELECTION = "same-cost."

# Lowest and highest sd between seeds of the paired difference of two points, in points of test accuracy, and the source
# of both, by target and student. It depends on the distance of the points. `create` derives from it the smallest
# difference that a plan can detect.
PAIRED_SD = {("cifar10", "keras-student"): (0.25, 0.48, "bench/results/recipe.md, preset quick")}

# The same for the mean regret between searches of preset quick, whose results are partly luck.
SEARCH_SD = {("cifar10", "keras-student"): (0.1, 0.69, "bench/results/answer.md")}


class Distillation(TrainerKind):
    # `sweeps.trainers.protocol:TrainerKind` documents the methods.
    spec = KdSpec
    features = Features(
        one_size=True,
        tested="test images",
        trained="student",
        prepares="teacher",
        references="comparison method",
        measures=True,
        untreated=SCRATCH,
        defaults=UNTUNED,
        symbols={"temperature": "T", "alpha": "α"},
        axes={"temperature": "temperature T", "alpha": "alpha, weight of the labels"},
        settings="the distillation settings",
        treatment="Distillation",
        treating="distilling",
        without="no distillation",
        plain="Train the small network without a teacher",
        better="the network without a teacher",
        untreated_training="training without a teacher",
        untreated_network="the undistilled network",
    )
    arms = ARMS

    def space(self, spec: KdSpec, *, transfer: bool = False) -> Space:
        return space.transfer_space(spec) if transfer else space.search_space(spec)

    def searched(self, spec: KdSpec) -> Sequence[str]:
        return "temperature", "alpha", *spec.search.space

    def untreated(self, spec: KdSpec, role: str) -> str:
        arms = spec.arms(role)
        return next((arm for arm in (SCRATCH_OWN, SCRATCH_TUNED) if arm in arms), SCRATCH)

    def raced(self, spec: KdSpec) -> str:
        loss = spec.training.distillation  # a default with another loss could win by the loss, which is not searched
        return UNTUNED[0] if loss == "kd" else PAPER if loss in LOSSES else ""

    def prepared(self, spec: KdSpec, role: str) -> str:
        return spec.role(role).teacher

    def trained(self, spec: KdSpec, role: str, arm: str = "") -> str:
        return FOUND_NETWORK if arm and "network" in ARMS[arm].settings else spec.role(role).student

    def references(self, spec: KdSpec, role: str) -> Sequence[str]:
        return spec.baselines_on(role)

    def seconds(self, spec: KdSpec, kind: RunKind, role: str) -> float:
        return _work(spec, kind, role) * _seconds_of_work(spec.preset)

    def curve_length(self, spec: KdSpec, kind: RunKind, role: str, arm: str, facts: Mapping[str, Any]) -> int:
        part = spec.role(role)
        if kind != "train":
            ready = part.teacher.startswith(("pretrained:", "baseline:", "logits:"))
            return 1 if ready else part.teacher_epochs
        if arm and "network" in ARMS[arm].settings:
            return spec.baselines.autokeras_epochs
        if arm == SAME_COST and facts.get("epochs") is not None:
            return int(facts["epochs"])  # from the selection
        return int(trained_with(facts.get("more", {}), arm).get("epochs", part.epochs))

    def own_values(self, arm: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return trained_with(values, arm)

    def settings(self, spec: KdSpec, arm: str) -> Mapping[str, str]:
        return {"loss": spec.training.distillation} | dict(ARMS[arm].settings)

    def detail(self, spec: KdSpec, role: str, arm: str, facts: Mapping[str, Any]) -> str:
        if "network" in ARMS[arm].settings:
            return "the found network, trained anew"
        own = ""
        if arm == SAME_COST and facts:
            own = f", {facts.get('epochs')} epochs"
        elif arm == SCRATCH_OWN and facts:
            chosen = {name: facts["more"][name] for name in ("learning_rate", space.SCHEDULE)}
            own = f", {spec.training.model_copy(update=chosen).rate()}"
        return self.trained(spec, role, arm) + own

    def content(self, spec: KdSpec, role: str) -> str:
        return spec.role(role).content_hash

    def examples(self, spec: KdSpec, role: str) -> int:
        return spec.role(role).images

    def formula(self, spec: KdSpec) -> str:
        return formula(spec.training.distillation)

    def recipe(self, spec: KdSpec, point: Point) -> str:
        tuned = point.as_dict()
        training = spec.training.model_copy(
            update={name: tuned[name] for name in ("learning_rate", "batch_size") if name in tuned}
        )
        epochs = number_of(int(tuned.get("epochs", spec.source.epochs)), "epoch")
        return f"Adam, {training.rate()}, batches of {training.batch_size}, {epochs}"

    def paste(self, spec: KdSpec, point: Point, arm: str = "") -> Mapping[str, str]:
        if arm and "loss" in ARMS[arm].settings:
            return snippets(point, loss=ARMS[arm].settings["loss"], own={})
        return snippets(point, loss=spec.training.distillation, own=spec.training.loss_parameters)

    @property
    def presets(self) -> Mapping[str, KdSpec]:
        from sweeps.distill.presets import PRESETS

        return PRESETS

    def requested(self, request: "SpecRequest") -> KdSpec:
        from sweeps.distill.presets import requested

        return requested(request)

    def fetch(self, spec: KdSpec, data: Path | None, say: Callable[[str], None]) -> KdSpec:
        from sweeps.distill.fetch import with_data

        return with_data(spec, data, say)

    def fetch_missing(self, spec: KdSpec, data: Path | None) -> None:
        from sweeps.distill.fetch import fetch_missing

        fetch_missing(spec, data)

    def as_created(self, spec: KdSpec, stored: Mapping[str, Any]) -> KdSpec:
        from sweeps.distill.fetch import without_download

        datasets = [stored[role]["dataset"] for role in ROLES if stored.get(role)]
        changed = stored["note"] and [part.dataset for part in spec.parts] != datasets
        return without_download(spec, stored["note"]) if changed else spec

    def freeze(self, spec: KdSpec, data: Path | None) -> KdSpec:
        from sweeps.distill.freeze import freeze

        return freeze(spec, data)

    def try_code(self, spec: KdSpec, data: Path | None) -> None:
        from sweeps.distill.freeze import check_users_models

        check_users_models(spec, data_dir=data)

    def data_lines(self, spec: KdSpec, data: Path | None) -> Sequence[str]:
        from sweeps.distill.freeze import data_lines

        return data_lines(spec, data)

    def checks(self, data: Path | None) -> Sequence[Check]:
        from sweeps.distill.doctor import checks

        return checks(data)

    def needs(self, spec: KdSpec) -> Sequence[Need]:
        from sweeps.distill.freeze import requirements

        return requirements(spec)

    def files(self, spec: KdSpec) -> Iterator[tuple[str, str, str]]:
        from kd.data.datasets import NAMES
        from kd.teachers.logits_file import PREFIX

        for role in spec.roles:
            part = spec.role(role)
            if part.dataset not in NAMES:
                yield f"{role}.dataset", part.dataset, f"allowed over HTTP: {', '.join(NAMES)}; a file"
            for key, name in (("teacher", part.teacher), ("student", part.student)):
                if name.startswith(PREFIX):
                    yield f"{role}.{key}", name, "no request names a file on the server; one that does"

    def has_reference(self, method: str) -> bool:
        from kd.baselines.applications import has_weights

        return has_weights(method)

    def summary(self, spec: KdSpec) -> Mapping[str, str]:
        parts = spec.parts
        data = " -> ".join(f"{part.name or Path(part.dataset).name} ({part.images:,} images)" for part in parts)
        teachers, students = {part.teacher for part in parts}, {part.student for part in parts}
        if len(students) > 1:
            models = "; ".join(f"{part.teacher} teaches {part.student} on {_short(part)}" for part in parts)
        elif len(teachers) == 1:
            models = f"{parts[0].teacher} teaches {parts[0].student}"
        else:
            taught = ", ".join(f"{part.teacher} on {_short(part)}" for part in parts)
            models = f"{taught} teach {parts[0].student}"
        return {"data": data, "models": models}

    def details(self, spec: KdSpec) -> Sequence[str]:
        training = spec.training
        return [
            *(_described(role, spec.role(role)) for role in spec.roles),
            f"training Adam {training.learning_rate:g} ({training.schedule}), batch {training.batch_size}",
            f"loss     {formula(training.distillation)}",
        ]

    def describe(self, spec: KdSpec, role: str) -> str:
        part = spec.role(role)
        return f"{part.shown} ({part.images} images, teacher {part.teacher}, student {part.student})"

    def seed_sd(self, spec: KdSpec, *, searches: bool) -> tuple[float, float, str] | None:
        measured, part = SEARCH_SD if searches else PAIRED_SD, spec.role("target")
        return measured.get((part.dataset, part.student))

    def own_selection(self, role: str, arm: str) -> str:
        return f"{SAME_COST_SELECTION}{role}" if arm == SAME_COST else ""

    def selection_problem(
        self, stored: "StoredSweep", name: str, value: Mapping[str, Any], specs: Sequence[KdSpec]
    ) -> str:
        from sweeps.distill.cost import same_cost_problem

        return same_cost_problem(stored, name.removeprefix(SAME_COST_SELECTION), value, specs)

    def report(self) -> ReportParts:
        from sweeps.distill.report import KdReport

        return KdReport()

    def own_findings(self, stored: "StoredSweep", provenance: "Provenance") -> Mapping[str, Any]:
        from sweeps.distill.cost import break_evens

        return {"break_evens": [asdict(even) for even in break_evens(stored, provenance)]}

    def code(self, spec: KdSpec) -> Sequence[tuple[str, str]]:
        from kd.data.custom import kind_of  # here: it imports NumPy, which most commands do not need

        named = [("training.distillation", spec.training.distillation)]
        for role in spec.roles:
            part = spec.role(role)
            if kind_of(part.dataset) == "function":
                named.append((f"{role}.dataset", part.dataset))
            named += [(f"{role}.teacher", part.teacher), (f"{role}.student", part.student)]
        return named

    def open(self, spec: KdSpec, artifacts: Artifacts) -> Trainer:
        from sweeps.distill.session import KdTrainer  # here: it imports NumPy and the data

        return KdTrainer(spec, artifacts)


def _short(part: DatasetSpec) -> str:
    return part.name or Path(part.dataset).stem


def _described(role: str, part: DatasetSpec) -> str:
    views = f", {part.views} views of each image" if part.augment != "none" else ""
    models = f"teacher {part.teacher}, student {part.student}, {part.epochs} epochs"
    return f"{role:<8} {part.shown}: {part.images} images{views}, {models}"


def _work(spec: KdSpec, kind: RunKind, role: str) -> float:
    """Return the cost of a run in training images of a student; measuring costs about a comparison method."""
    part = spec.role(role or "source")
    if kind == "measure" and phases.scores_alone(spec):
        return _METHOD / 2 * part.images * part.epochs
    if kind == "prepare":
        return _TEACHER * part.images * part.teacher_epochs
    return (_METHOD if kind in ("reference", "measure") else 1) * part.images * part.epochs


@cache
def _seconds_of_work(preset: str) -> float:
    from sweeps.distill.presets import MINUTES, PRESETS

    measured = preset if preset in MINUTES else "quick"
    spec = PRESETS[measured]
    whole = sum(
        number * _work(spec, phases.run_kind(stage), role or "") for (stage, role), number in plan.counts(spec).items()
    )
    return MINUTES[measured] * 60 * _CORES / whole


KIND = Distillation()

"""The trainer "kd": students that a teacher teaches, on images, with Keras."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.studies.space import Space
from sweeps.distill import describe, space
from sweeps.distill.arms import ARMS, FOUND_NETWORK, SAME_COST, SCRATCH, SCRATCH_TUNED, UNTUNED, trained_with
from sweeps.distill.snippets import snippets
from sweeps.distill.spec import KdSpec, formula
from sweeps.plan.phases import run_kind
from sweeps.plan.plan import counts
from sweeps.spec.model import ROLES
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Artifacts, Check, Features, Need, Point, ReportParts, RunKind, Trainer, TrainerKind

if TYPE_CHECKING:
    from sweeps.findings.load import Provenance, StoredSweep
    from sweeps.usecases.create import SpecRequest

# As measured in presets tiny and quick: a teacher's network is larger than a student's, and a comparison method is
# mostly a network trained on ImageNet. Roughly right is enough, since what has finished soon says it better.
_TEACHER = 6
_METHOD = 20
_CORES = 2  # of MINUTES
SAME_COST_SELECTION = "same-cost."


class Distillation(TrainerKind):
    """See `sweeps.trainers.protocol.TrainerKind`."""

    spec = KdSpec
    features = Features(
        trained="student",
        prepares="teacher",
        references="comparison method",
        measures=True,
        untreated=SCRATCH,
        defaults=UNTUNED,
        symbols={"temperature": "T", "alpha": "α"},
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
        """T, alpha, then further ones by name."""
        return space.transfer_space(spec) if transfer else space.search_space(spec)

    def searched(self, spec: KdSpec) -> Sequence[str]:
        """T, alpha, then further ones as the spec has them."""
        return "temperature", "alpha", *spec.search.space

    def untreated(self, spec: KdSpec, role: str) -> str:
        """Labels only, trained as best where the training was searched."""
        return SCRATCH_TUNED if SCRATCH_TUNED in spec.arms(role) else SCRATCH

    def prepared(self, spec: KdSpec, role: str) -> str:
        """The teacher."""
        return spec.role(role).teacher

    def trained(self, spec: KdSpec, role: str, arm: str = "") -> str:
        """The student, but of one arm."""
        return FOUND_NETWORK if arm and "network" in ARMS[arm].settings else spec.role(role).student

    def references(self, spec: KdSpec, role: str) -> Sequence[str]:
        """The comparison methods."""
        return spec.baselines_on(role)

    def seconds(self, spec: KdSpec, kind: RunKind, role: str) -> float:
        """By the images that it sees."""
        return _work(spec, kind, role) * _seconds_of_work(spec.preset)

    def curve_length(self, spec: KdSpec, kind: RunKind, role: str, arm: str, facts: Mapping[str, Any]) -> int:
        """Its epochs."""
        part = spec.role(role)
        if kind != "train":
            ready = part.teacher.startswith(("pretrained:", "baseline:", "logits:"))
            return 1 if ready else part.teacher_epochs
        if arm and "network" in ARMS[arm].settings:
            return spec.baselines.autokeras_epochs
        if arm == SAME_COST and facts.get("epochs") is not None:
            return int(facts["epochs"])  # which a selection gives
        return int(trained_with(facts.get("more", {}), arm or None).get("epochs", part.epochs))

    def own_values(self, arm: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Without parameters of a loss that the arm is not trained with."""
        return trained_with(values, arm or None)

    def detail(self, spec: KdSpec, role: str, arm: str, facts: Mapping[str, Any]) -> str:
        """The student; of one arm its epochs as well."""
        if "network" in ARMS[arm].settings:
            return "the found network, trained anew"
        epochs = f", {facts.get('epochs')} epochs" if arm == SAME_COST and facts else ""
        return f"{self.trained(spec, role, arm)}{epochs}"

    def content(self, spec: KdSpec, role: str) -> str:
        """Of its images and labels."""
        return spec.role(role).content_hash

    def examples(self, spec: KdSpec, role: str) -> int:
        """Its training images."""
        return spec.role(role).images

    def formula(self, spec: KdSpec) -> str:
        """The loss."""
        return formula(spec.training.distillation)

    def recipe(self, spec: KdSpec, point: Point) -> str:
        """Optimizer, rate, batches and epochs."""
        tuned = point.as_dict()
        training = spec.training.model_copy(
            update={name: tuned[name] for name in ("learning_rate", "batch_size") if name in tuned}
        )
        epochs = number_of(int(tuned.get("epochs", spec.source.epochs)), "epoch")
        return f"Adam, {training.rate()}, batches of {training.batch_size}, {epochs}"

    def paste(self, spec: KdSpec, point: Point) -> Mapping[str, str]:
        """For kd, Keras and PyTorch."""
        return snippets(point, loss=spec.training.distillation, own=spec.training.loss_parameters)

    @property
    def presets(self) -> Mapping[str, KdSpec]:
        """See `sweeps.distill.presets`."""
        from sweeps.distill.presets import PRESETS

        return PRESETS

    def requested(self, request: "SpecRequest") -> KdSpec:
        """See `sweeps.distill.presets.requested`."""
        from sweeps.distill.presets import requested

        return requested(request)

    def fetch(self, spec: KdSpec, data: Path | None, say: Callable[[str], None]) -> KdSpec:
        """Its datasets; the same on digits where those of preset quick cannot be had."""
        from sweeps.distill.fetch import with_data

        return with_data(spec, data, say)

    def fetch_missing(self, spec: KdSpec, data: Path | None) -> None:
        """Its datasets, with a bar."""
        from sweeps.distill.fetch import fetch_missing

        fetch_missing(spec, data)

    def as_created(self, spec: KdSpec, stored: Mapping[str, Any]) -> KdSpec:
        """On digits where the datasets could not be had."""
        from sweeps.distill.fetch import without_download

        datasets = [stored[role]["dataset"] for role in ROLES if stored.get(role)]
        changed = stored["note"] and [spec.role(role).dataset for role in spec.roles] != datasets
        return without_download(spec, stored["note"]) if changed else spec

    def freeze(self, spec: KdSpec, data: Path | None) -> KdSpec:
        """With the hash of each dataset, of a file of logits, and of each file of code."""
        from sweeps.distill.freeze import freeze

        return freeze(spec, data)

    def try_code(self, spec: KdSpec, data: Path | None) -> None:
        """Build each model once."""
        from sweeps.distill.freeze import check_users_models

        check_users_models(spec, data_dir=data)

    def data_lines(self, spec: KdSpec, data: Path | None) -> Sequence[str]:
        """Images, shape and classes."""
        from sweeps.distill.freeze import data_lines

        return data_lines(spec, data)

    def checks(self, data: Path | None) -> Sequence[Check]:
        """See `sweeps.distill.doctor`."""
        from sweeps.distill.doctor import checks

        return checks(data)

    def needs(self, spec: KdSpec) -> Sequence[Need]:
        """Code, files and weights."""
        from sweeps.distill.freeze import requirements

        return requirements(spec)

    def files(self, spec: KdSpec) -> Iterator[tuple[str, str, str]]:
        """Datasets that are not public, and models that are a file of logits."""
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
        """The weights of a pretrained network."""
        from kd.baselines.applications import has_weights

        return has_weights(method)

    def summary(self, spec: KdSpec) -> Mapping[str, str]:
        """Data and models."""
        return describe.summary(spec)

    def details(self, spec: KdSpec) -> Sequence[str]:
        """Every dataset, the training and the loss."""
        return describe.details(spec)

    def describe(self, spec: KdSpec, role: str) -> str:
        """With its images, teacher and student."""
        part = spec.role(role)
        return f"{part.shown} ({part.images} images, teacher {part.teacher}, student {part.student})"

    def seed_sd(self, spec: KdSpec, *, searches: bool) -> tuple[float, float, str] | None:
        """As far as it was measured."""
        return describe.seed_sd(spec, searches=searches)

    def own_selection(self, role: str, arm: str) -> str:
        """The epochs of scratch-same-cost."""
        return f"{SAME_COST_SELECTION}{role}" if arm == SAME_COST else ""

    def selection_problem(
        self, stored: "StoredSweep", name: str, value: Mapping[str, Any], specs: Sequence[KdSpec]
    ) -> str:
        """Where its epochs do not follow from the operations beside them."""
        from sweeps.distill.cost import same_cost_problem

        return same_cost_problem(stored, name.removeprefix(SAME_COST_SELECTION), value, specs)

    def report(self) -> ReportParts:
        """See `sweeps.distill.report`."""
        from sweeps.distill.report import KdReport

        return KdReport()

    def own_findings(self, stored: "StoredSweep", provenance: "Provenance") -> Mapping[str, Any]:
        """AutoKeras against the sweep."""
        from sweeps.distill.cost import break_evens

        return {"break_evens": [asdict(even) for even in break_evens(stored, provenance)]}

    def code(self, spec: KdSpec) -> Sequence[tuple[str, str]]:
        """The loss, the teachers and students, and functions that return a dataset."""
        from kd.data.custom import kind_of  # here: NumPy takes a while to import, and most commands need none

        named = [("training.distillation", spec.training.distillation)]
        for role in spec.roles:
            part = spec.role(role)
            if kind_of(part.dataset) == "function":
                named.append((f"{role}.dataset", part.dataset))
            named += [(f"{role}.teacher", part.teacher), (f"{role}.student", part.student)]
        return named

    def open(self, spec: KdSpec, artifacts: Artifacts) -> Trainer:
        """Return the trainer, for one worker process."""
        from sweeps.distill.session import KdTrainer  # numpy and the data: not before a worker needs them

        return KdTrainer(spec, artifacts)


def _work(spec: KdSpec, kind: RunKind, role: str) -> float:
    """Return how much a run computes, in images that a student trains on; measuring is about a comparison method."""
    part = spec.role(role or "source")
    if kind == "prepare":
        return _TEACHER * part.images * part.teacher_epochs
    return (_METHOD if kind in ("reference", "measure") else 1) * part.images * part.epochs


@cache
def _seconds_of_work(preset: str) -> float:
    from sweeps.distill.presets import MINUTES, PRESETS

    measured = preset if preset in MINUTES else "quick"
    spec = PRESETS[measured]
    whole = sum(number * _work(spec, run_kind(stage), role or "") for (stage, role), number in counts(spec).items())
    return MINUTES[measured] * 60 * _CORES / whole


KIND = Distillation()

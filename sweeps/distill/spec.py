"""Define the spec of a distillation, with its tables of datasets, training, search and baselines."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from kd.baselines.methods import METHODS, Budget
from kd.config import Schedule
from kd.losses.builtin import LOSSES
from kd.losses.loss import Loss, is_users
from sweeps.distill.arms import AUTOKERAS, CONTROLS, SAME_COST, SCRATCH_OWN, SOURCE_ARMS, TARGET_ARMS
from sweeps.distill.space import SCALED, TRAINING_PARAMS, ExtraSpace, ends_within
from sweeps.errors import SpecError
from sweeps.spec import tables
from sweeps.spec.model import ROLES, Spec

MOST_IMAGES = 100_000_000
LEAST_PIXELS, MOST_PIXELS = 8, 4_096  # of a side; no smaller image is trained on
MOST_VIEWS = 1_000  # of each image, all stored with their logits
MOST_PARAMETERS = 10_000_000_000
_WRITTEN = ("mnist", "digits", "digits-rgb")

_Side = Annotated[int, Field(ge=LEAST_PIXELS, le=MOST_PIXELS, strict=True)]


def _both_sides(size: tuple[int, ...]) -> tuple[int, ...]:
    if len(size) not in (0, 2):
        raise ValueError("[height, width], or [] for images that all have one size")
    return size


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(tables.meant(name, METHODS) + ", ".join(METHODS))
    return name


_Method = Annotated[str, AfterValidator(_known_method)]


class DatasetSpec(tables.RoleSpec):
    """A dataset, its teacher and its student."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("dataset", "images", "teacher", "teacher_epochs", "student", "epochs", "augment", "views"),
        *("content_hash", "logits_hash", "name", "size"),
    )

    dataset: str = Field(
        min_length=1, description="mnist, digits, ..., or your own: FILE.npz, a folder of images, or ./file.py:load"
    )
    images: int = Field(
        default=0,
        ge=0,
        le=MOST_IMAGES,
        strict=True,
        description="training images, stratified by class, from the training split; 0 = all, filled in by create",
    )
    teacher: str = Field(
        description="cnn-small, ..., pretrained:NAME, baseline:autokeras, logits:FILE.npz, package.module:build"
        " or ./file.py:build"
    )
    teacher_epochs: tables.Count
    student: str = Field(default="keras-student", description="cnn-small, ..., package.module:build or ./file.py:build")
    epochs: tables.Count = Field(description="epochs of one student, that is of one trial")
    augment: Literal["none", "flip-crop"] = "none"
    views: int = Field(
        default=8,
        ge=1,
        le=MOST_VIEWS,
        strict=True,
        description="with flip-crop: fixed views of each image, each with its own logits",
    )
    content_hash: str = Field(default="", description="of the dataset; filled in by create, checked by every worker")
    logits_hash: str = Field(default="", description="of the logits of a logits:FILE.npz; filled in and checked")
    size: Annotated[tuple[_Side, ...], AfterValidator(_both_sides)] = Field(
        default=(), description="[height, width] for all images of a folder"
    )


class Baselines(tables.SpecModel):
    """Fixed comparison trials."""

    methods: Annotated[tuple[_Method, ...], tables.EachOnce] = Field(
        default=("autokeras", "mobilenet"), description="on the target; NAME or NAME-tuned for a pretrained network"
    )
    source_methods: Annotated[tuple[_Method, ...], tables.EachOnce] = Field(
        default=(), description="the same on the source"
    )
    seconds: tables.Seconds = Field(
        default=900, description="a safety net for one pretrained network, like autokeras_seconds"
    )
    autokeras_trials: tables.Count = 2
    autokeras_epochs: tables.Count = 6
    autokeras_seconds: tables.Seconds = Field(
        default=900, description="a safety net; a search that it ends is marked, and differs between machines"
    )
    autokeras_blocks: Annotated[tuple[Literal["vanilla", "xception", "resnet"], ...], tables.EachOnce] = Field(
        default=("vanilla",), min_length=1
    )
    autokeras_parameters: int = Field(
        default=2_000_000, ge=1, le=MOST_PARAMETERS, strict=True, description="a larger model is not trained"
    )

    def on(self, role: str) -> tuple[str, ...]:
        return {"source": self.source_methods, "target": self.methods}.get(role, ())

    def budget(self, method: str | None) -> Budget:
        return Budget(
            trials=self.autokeras_trials,
            epochs=self.autokeras_epochs,
            seconds=self.autokeras_seconds if method == "autokeras" else self.seconds,
            max_parameters=self.autokeras_parameters,
            blocks=self.autokeras_blocks,
        )


def of_distillation(spec: Spec) -> "KdSpec":
    if not isinstance(spec, KdSpec):
        raise SpecError(f"this is for sweeps of the trainer kd; this one has {spec.trainer.kind}")
    return spec


def formula(name: str) -> str:
    """Return the formula of a loss; a user's has its name instead of a term."""
    loss = LOSSES.get(name)
    return loss.formula if loss else f"alpha*CE(labels) + (1-alpha)*term, term: {name}"


def check_loss(name: str) -> str:
    if not is_users(name) and name not in LOSSES:
        hint = tables.meant(name, LOSSES)
        raise ValueError(f"{hint}{', '.join(LOSSES)}, or your own as package.module:function or ./file.py:function")
    return name


def check_parameters(loss: Loss, space: Iterable[str], fixed: Iterable[str]) -> None:
    """Raise a ValueError unless a loss has the parameters that a spec searches and fixes."""
    own = [name for name in space if name not in TRAINING_PARAMS]
    also = f"; also allowed: {', '.join(TRAINING_PARAMS)}"
    for key, names, more in (("search.space", own, also), ("training.loss_parameters", fixed, "")):
        try:
            loss.values(dict.fromkeys(names, 0.0))
        except ValueError as error:
            raise ValueError(f"{key}: {error}{more}") from None


class Training(tables.SpecModel):
    """How students and teachers are trained."""

    batch_size: tables.Count = 64
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="of students: Adam, at the first step")
    schedule: Schedule = Field(
        default="constant",
        description="of students: constant; cosine lowers the rate to 0; average averages the last weights",
    )
    average_steps: tables.Count = Field(default=50, description="with average: steps that it reaches back over")
    distillation: Annotated[str, AfterValidator(check_loss)] = Field(
        default="kd",
        description="the loss: kd, mse, logit-standardization, dkd, nkd, dist, package.module:loss or ./file.py:loss",
    )
    loss_parameters: dict[str, float] = Field(
        default={}, description="of the loss's own parameters, those that are fixed; create fills in a user's own"
    )
    teacher_learning_rate: float = Field(default=3e-3, gt=0, le=1, description="of teachers: Adam, falling to 0")

    def rate(self) -> str:
        if self.schedule == "cosine":
            return f"learning rate {self.learning_rate:g} with cosine decay to 0"
        constant = f"constant learning rate {self.learning_rate:g}"
        return (
            constant if self.schedule == "constant" else f"{constant}, weights averaged over {self.average_steps} steps"
        )


class KdSearch(tables.Search):
    """The search for (T, alpha); the native search on the target is the same."""

    temperature: Annotated[tuple[float, float], ends_within(1000, above_0=True)] = Field(
        default=(1.0, 20.0), description="log-uniform"
    )
    alpha: Annotated[tuple[float, float], ends_within(1, above_0=False)] = Field(
        default=(0.0, 1.0), description="uniform; weight of the labels"
    )
    space: ExtraSpace = Field(
        default={},
        description="more to search, as [low, high]: learning_rate (log), epochs, batch_size (powers of two times low),"
        " and the loss's own parameters",
    )


class KdTransfer(tables.Transfer):
    """The arms, compared on seeds not used for any selection; only this stage reads the test set."""

    source_arms: Annotated[
        tuple[Literal[(*SOURCE_ARMS, SCRATCH_OWN, *CONTROLS)], ...],  # type: ignore[valid-type]
        tables.EachOnce,
    ] = Field(default=SOURCE_ARMS, min_length=1)
    target_arms: Annotated[
        tuple[Literal[(*TARGET_ARMS, SCRATCH_OWN, *CONTROLS, SCALED, AUTOKERAS)], ...],  # type: ignore[valid-type]
        tables.EachOnce,
    ] = Field(default=TARGET_ARMS, min_length=1)


class KdSpec(Spec):
    """The whole sweep."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("preset", "seed", "note", *ROLES, "training", "search", "confirm", "transfer", "outer", "baselines"),
        *("lease", "limits", "retry", "code"),
    )
    LATER: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("search", "space"), ("training", "distillation"), ("training", "loss_parameters"), ("transfer", "rule")),
        *(("transfer", "margin_share"), ("limits", "recipes")),
        *((role, key) for role in ROLES for key in ("name", "size")),
    )
    UNUSED: ClassVar[tuple[Any, ...]] = ("kd", 1)

    source: DatasetSpec
    target: DatasetSpec | None = None
    target2: DatasetSpec | None = None
    target3: DatasetSpec | None = None
    training: Training = Training()
    search: KdSearch
    transfer: KdTransfer
    baselines: Baselines = Baselines()

    @model_validator(mode="after")
    def _of_distillation(self) -> "KdSpec":
        for part in self.parts:
            if part.augment == "flip-crop" and part.dataset in _WRITTEN:
                raise ValueError(
                    f"{part.dataset}: augment flip-crop mirrors the images, and a mirrored digit is not a digit"
                )
        if self.targets and AUTOKERAS in self.transfer.target_arms and AUTOKERAS not in self.baselines.methods:
            raise ValueError(f"transfer.target_arms has {AUTOKERAS}, so baselines.methods must have it, too")
        space = self.search.space
        if (loss := LOSSES.get(self.training.distillation)) is not None:  # `create` checks a user's loss
            check_parameters(loss, space, self.training.loss_parameters)
        if "epochs" in space and SAME_COST in {arm for role in self.roles for arm in self.arms(role)}:
            raise ValueError(
                f"search.space has epochs, so the arms cannot have {SAME_COST}: what a search costs varies"
            )
        for part in self.parts:
            largest = max(self.training.batch_size, *space.get("batch_size", (1,)))
            if 0 < part.images < largest:
                raise ValueError(f"{part.dataset}: images ({part.images}) is less than one batch ({largest})")
        return self

    def role(self, name: str) -> DatasetSpec:
        part: DatasetSpec = getattr(self, name)
        return part

    @property
    def parts(self) -> list[DatasetSpec]:
        return [self.role(role) for role in self.roles]

    def baselines_on(self, role: str) -> tuple[str, ...]:
        """Return the comparison methods on the dataset of a role; with one dataset, all methods run on it."""
        if self.targets or role != "source":
            return self.baselines.on(role)
        return tuple(dict.fromkeys((*self.baselines.methods, *self.baselines.source_methods)))

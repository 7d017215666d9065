"""Tables of datasets, training, baselines; losses as a spec names them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kd.config import Schedule
from kd.losses.builtin import LOSSES
from kd.losses.loss import Loss, is_users
from sweeps.spec import tables


class DatasetSpec(tables.SpecModel):
    """A dataset and what is trained on it."""

    dataset: str = Field(
        min_length=1, description="mnist, digits, ..., or one's own: FILE.npz, a folder of images, or ./file.py:load"
    )
    images: int = Field(
        default=0,
        ge=0,
        le=tables.MOST_IMAGES,
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
        le=tables.MOST_VIEWS,
        strict=True,
        description="with flip-crop: fixed views of each image, each with its own logits",
    )
    content_hash: str = Field(default="", description="of the dataset; filled in by create, checked by every worker")
    logits_hash: str = Field(
        default="", description="of the logits of a logits:FILE.npz; filled in and checked likewise"
    )
    name: Annotated[str, AfterValidator(tables.free_name)] = Field(
        default="", description="of an own dataset: what it is called instead of its path"
    )
    size: Annotated[tuple[tables.Side, ...], AfterValidator(tables.both_sides)] = Field(
        default=(), description="[height, width] that all images of a folder get"
    )

    @property
    def shown(self) -> str:
        """What the dataset is called wherever it is shown: its name, or what stands for it."""
        return self.name or self.dataset


class Baselines(tables.SpecModel):
    """Fixed comparison trials."""

    methods: Annotated[tuple[tables.Method, ...], tables.EachOnce] = Field(
        default=("autokeras", "mobilenet"), description="on the target; NAME or NAME-tuned for a pretrained network"
    )
    source_methods: Annotated[tuple[tables.Method, ...], tables.EachOnce] = Field(
        default=(), description="the same on the source"
    )
    seconds: tables.Seconds = Field(
        default=900, description="a safety net of one pretrained network, as autokeras_seconds"
    )
    autokeras_trials: tables.Count = 2
    autokeras_epochs: tables.Count = 6
    autokeras_seconds: tables.Seconds = Field(
        default=900, description="a safety net: what it cuts short says so, and differs from machine to machine"
    )
    autokeras_blocks: Annotated[tuple[Literal["vanilla", "xception", "resnet"], ...], tables.EachOnce] = Field(
        default=("vanilla",), min_length=1
    )
    autokeras_parameters: int = Field(
        default=2_000_000, ge=1, le=tables.MOST_PARAMETERS, strict=True, description="a larger model is not trained"
    )

    def on(self, role: str) -> tuple[str, ...]:
        """Return the methods that run on the dataset of a role."""
        return {"source": self.source_methods, "target": self.methods}.get(role, ())


def known(name: str) -> Loss | None:
    """Return the description of a loss of this package; None for a user's own."""
    return LOSSES.get(name)


def formula(name: str) -> str:
    """Return the formula of a loss; of a user's own, with its name in the place of its term."""
    loss = known(name)
    return loss.formula if loss else f"alpha*CE(labels) + (1-alpha)*term, term: {name}"


def check_loss(name: str) -> str:
    """Return the name of a loss; raise ValueError if there is none of that name."""
    if not is_users(name) and name not in LOSSES:
        hint = tables.meant(name, LOSSES)
        raise ValueError(f"{hint}{', '.join(LOSSES)}, or your own as package.module:function or ./file.py:function")
    return name


def check_parameters(loss: str, key: str, names: list[str]) -> None:
    """Check that a loss of this package has the parameters of those names; of a user's own, `create` checks them.

    Raises:
        ValueError: it has not.
    """
    description = known(loss)
    if description is None:
        return
    own = [parameter.name for parameter in description.parameters]
    for name in names:
        if name not in own:
            has = f"its own are {', '.join(own)}" if own else "it has none of its own"
            more = f"; allowed beside those: {', '.join(tables.TRAINING_PARAMS)}" if key == "search.space" else ""
            raise ValueError(f"{key}: got {name!r}, but loss {loss} has no such parameter: {has}{more}")


def defaults(loss: str) -> dict[str, float]:
    """Return the default of each own parameter of a loss of this package; empty for a user's own."""
    description = known(loss)
    return {} if description is None else {parameter.name: parameter.default for parameter in description.parameters}


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
        """Return the students' learning rate and its schedule in words."""
        if self.schedule == "cosine":
            return f"learning rate {self.learning_rate:g} with cosine decay to 0"
        constant = f"constant learning rate {self.learning_rate:g}"
        return (
            constant if self.schedule == "constant" else f"{constant}, weights averaged over {self.average_steps} steps"
        )

"""The table of a spec that says how students and teachers are trained."""

from typing import Annotated

from pydantic import AfterValidator, Field

from kd.config import Schedule
from sweeps.spec.bounds import Count, SpecModel
from sweeps.spec.losses import check_loss


class Training(SpecModel):
    """How students and teachers are trained."""

    batch_size: Count = 64
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="of students: Adam, at the first step")
    schedule: Schedule = Field(
        default="constant",
        description="of students: constant; cosine lowers the rate to 0; average averages the last weights",
    )
    average_steps: Count = Field(default=50, description="with average: steps that it reaches back over")
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

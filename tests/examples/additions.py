"""One addition of each kind, each in one place: an operation, a loss, an arm and a figure.

A real one also needs: an operation its command, the OpenAPI file and the page of commands; a loss its row in LOSSES of
kd/losses/builtin.py; an arm its row in the table of its trainer; a figure its row in FIGURES.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

from matplotlib.figure import Figure

from kd.losses.loss import Loss, Tensor
from sweeps.operations.operation import LocalClient, Operation
from sweeps.operations.table import TRIALS, SweepArgs, TrialsArgs
from sweeps.report.figures.style import panels
from sweeps.report.figures.svg import Drawing
from sweeps.trainers.arms import Arm
from sweeps.trainers.protocol import Point, ReportParts
from tests.examples.digits_trainer import DigitsKind


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Median seconds of a training, by stage."""

    seconds: Mapping[str, float]


def _pace(client: LocalClient, args: SweepArgs) -> Pace:
    took: dict[str, list[float]] = {}
    for row in client.ask(TRIALS, TrialsArgs(name=args.name)):
        if row.train_s is not None:
            took.setdefault(row.stage, []).append(row.train_s)
    return Pace(seconds={stage: median(seconds) for stage, seconds in took.items()})


PACE: Operation[SweepArgs, Pace] = Operation(
    name="pace",
    summary="Say how long a training took, by stage.",
    args=SweepArgs,
    answer=Pace,
    path="sweeps/{name}/pace",
    run=_pace,
)


def absolute_term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return the mean of |student - teacher|, a scalar."""
    from keras import ops  # specs are checked without Keras

    return ops.mean(ops.abs(student_logits - teacher_logits))


ABSOLUTE = Loss(
    name="absolute",
    formula="alpha*CE(labels) + (1-alpha)*mean(|student - teacher|)",
    source="an example",
    term=absolute_term,
    default_temperature=1.0,
    default_alpha=0.5,
    uses_temperature=False,
)
STRONG = Arm(
    key="strong", label="Strong penalty", method="C = 0.01", point=lambda _: Point.of({"C": 0.01, "tol": 1e-4})
)


def _draw(counts: Sequence[tuple[str, int]]) -> Figure:
    figure, (axes,) = panels(["Trials"], height=3.0)
    names, numbers = zip(*counts, strict=True)
    axes.bar(names, numbers)
    return figure


TRIALS_MADE = Drawing(
    name="trials-made",
    alt="Trials of each search",
    slot="others",
    data=lambda findings: [(surface.dataset, len(surface.trials)) for surface in findings.surfaces],
    draw=_draw,
    caption=lambda counts: f"How many trials each of {len(counts)} searches made.",
)


class AddedParts(ReportParts):
    """The page of the digits with a further figure."""

    figures = (TRIALS_MADE,)


class AddedKind(DigitsKind):
    """The digits with a further arm and a further figure."""

    arms = MappingProxyType({**DigitsKind.arms, STRONG.key: STRONG})

    def report(self) -> Any:
        """Return the additions to the pages."""
        return AddedParts()


KIND = AddedKind()

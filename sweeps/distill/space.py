"""Ranges and defaults of T, alpha, training settings and loss parameters."""

import math
from collections.abc import Mapping

from storage.studies.space import Choice, Range, Space, Whole
from sweeps.distill.arms import AUTOKERAS_ARM, DEFAULT_PAPER, DEFAULT_POINTS, PLAIN_KD, SCALED
from sweeps.distill.spec import defaults, known
from sweeps.spec.model import Spec
from sweeps.spec.tables import TRAINING_PARAMS
from sweeps.trainers.protocol import Number, Point


def search_space(spec: Spec) -> Space:
    """Return the ranges of the search, the native search and both confirms: T, alpha, then further ones by name."""
    first: Space = {
        "temperature": Range(*spec.search.temperature, log=True),
        "alpha": Range(*spec.search.alpha, log=False),
    }
    return first | {name: _range(name, *spec.search.space[name]) for name in sorted(spec.search.space)}


def point_at(space: Space, unit: list[float]) -> Point:
    """Return the point at these parts of the ranges, each in [0, 1), in the order of the space."""
    return Point.of({name: bounds.at(part) for (name, bounds), part in zip(space.items(), unit, strict=True)})


def untuned(spec: Spec, role: str) -> tuple[tuple[str, Number], ...]:
    """Return the further parameters as they are where nothing is searched: what the spec says of a dataset."""
    part, training = spec.role(role), spec.training
    values: dict[str, Number] = {
        **defaults(training.distillation),
        **training.loss_parameters,
        "learning_rate": training.learning_rate,
        "epochs": part.epochs,
        "batch_size": training.batch_size,
    }
    return tuple((name, values[name]) for name in sorted(spec.search.space))


def of_paper(spec: Spec, role: str) -> Point:
    """Return the point of the paper of the spec's loss, which is one of this package."""
    loss = known(spec.training.distillation)
    assert loss is not None
    own = {name: value for name, value in defaults(loss.name).items() if name in spec.search.space}
    more = dict(untuned(spec, role)) | own
    return Point(loss.default_temperature, loss.default_alpha, tuple(sorted(more.items())))


def of_training(point: Point) -> tuple[tuple[str, Number], ...]:
    """Return those further parameters of a point that are settings of the training, not of the loss."""
    return tuple((name, value) for name, value in point.more if name in TRAINING_PARAMS)


def trained_with(more: Mapping[str, Number], arm: str | None) -> dict[str, Number]:
    """Return those further parameters that a student was trained with: an arm with plain kd has none of another loss.

    The network that AutoKeras found has epochs of its own, `baselines.autokeras_epochs`.

    Args:
        arm: of transfer; None in the searches.
    """
    if arm not in PLAIN_KD:
        return dict(more)
    left_out = ("epochs",) if arm == AUTOKERAS_ARM else ()
    return {name: value for name, value in more.items() if name in TRAINING_PARAMS and name not in left_out}


def ends_near(spec: Spec, point: Point, part: float) -> list[tuple[str, float]]:
    """Return the ends of the searched ranges that a point lies at, within that part of a range, by parameter."""
    ends = []
    for name, bounds in search_space(spec).items():
        if isinstance(bounds, Range) and bounds.high > bounds.low:
            place = bounds.fraction(point.as_dict()[name])
            if min(place, 1 - place) <= part:
                ends.append((name, bounds.low if place <= part else bounds.high))
    return ends


def transfer_space(spec: Spec) -> Space:
    """Return a space that holds every arm: a default such as T=10 may lie outside the range that was searched."""
    named = any(DEFAULT_PAPER in spec.arms(role) for role in spec.roles)
    papers = [of_paper(spec, role) for role in spec.roles] if named else []
    fixed_points = [*DEFAULT_POINTS.values(), *papers]
    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    temperatures = [t_low, t_high, *(point.temperature for point in fixed_points)]
    alphas = [a_low, a_high, *(point.alpha for point in fixed_points)]
    wider = 20.0 if any(SCALED in spec.arms(role) for role in spec.roles) else 1.0  # teachers differ by less than that
    space: Space = {
        "temperature": Range(min(temperatures) / wider, max(temperatures) * wider, log=True),
        "alpha": Range(min(alphas), max(alphas), log=False),
    }
    for name in sorted(spec.search.space):
        low, high = spec.search.space[name]
        fixed = [dict(untuned(spec, role))[name] for role in spec.roles]
        fixed += [dict(point.more)[name] for point in papers]
        if name == "batch_size":
            space[name] = Choice(tuple(sorted({*_powers(int(low), int(high)), *fixed})))
        else:
            space[name] = _range(name, min(low, *fixed), max(high, *fixed))
    return space


def _range(name: str, low: Number, high: Number) -> Range | Whole | Choice:
    if name == "batch_size":  # each size is compiled anew, so there are few of them
        return Choice(_powers(int(low), int(high)))
    if name == "epochs":
        return Whole(int(low), int(high))
    return Range(float(low), float(high), log=low > 0)


def _powers(low: int, high: int) -> tuple[int, ...]:
    return tuple(low * 2**power for power in range(int(math.log2(high / low)) + 1))

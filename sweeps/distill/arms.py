"""List the arms of a distillation, a row each, in the order of a page."""

from collections.abc import Mapping
from typing import Any

from kd.losses.builtin import LOSSES
from storage.studies.space import Range
from sweeps.distill import space
from sweeps.trainers.arms import BEST, NATIVE, RANDOM, TARGETS, Arm, Context
from sweeps.trainers.protocol import Point

SCRATCH, SCRATCH_TUNED, SAME_COST, AUTOKERAS = "scratch", "scratch-tuned", "scratch-same-cost", "autokeras"
SCRATCH_OWN = "scratch-own"
# The student of the arm AUTOKERAS; all others have the student of the spec.
FOUND_NETWORK = "the network that AutoKeras found"

_PLAIN = {"loss": "kd"}  # always trained with the loss kd, which ignores parameters of another loss


def _fixed(key: str, label: str, method: str = "", *, settings: Mapping[str, str] = {}, **more: object) -> Arm:
    def point(context: Context) -> Point:
        return Point.of(space.FIXED_POINTS[key].as_dict() | space.untuned(context.spec, context.role))

    method = method or space.FIXED_POINTS[key].text(6)
    return Arm(key=key, label=label, method=method, point=point, settings=settings, **more)  # type: ignore[arg-type]


def _best(context: Context) -> Point:
    return context.best_of("source")


def _scaled(context: Context) -> Point:
    """Return the point of best, with T times the ratio of the teachers' logit spreads."""
    best, bounds = _best(context), space.transfer_space(context.spec)["temperature"]
    assert isinstance(bounds, Range)
    spreads = [context.fact(role, "logit_spread") for role in ("source", context.role)]
    temperature = best["temperature"] * spreads[1] / spreads[0]
    return Point.of(best.as_dict() | {"temperature": min(max(temperature, bounds.low), bounds.high)})


def _as_best(context: Context) -> Point:
    tuned = space.of_training(_best(context))
    return Point.of(space.LABELS_ONLY.as_dict() | space.untuned(context.spec, context.role) | tuned)


_ROWS = (
    NATIVE,
    BEST,
    Arm(
        key=space.SCALED,
        label="The same, T scaled to the teacher",
        method="as `best`, T times the spread of the logits of this dataset's teacher over that of the source's",
        point=_scaled,
        on=TARGETS,
        selects="source",
    ),
    _fixed("default-keras", "Keras default, untuned", standard=4, early=True, settings=_PLAIN, owner="Keras'"),
    RANDOM,
    Arm(
        key=space.PAPER,
        label="The loss's paper, untuned",
        method="T, alpha and the loss's own parameters as in its paper",
        point=lambda context: space.of_paper(context.spec, context.role),
        added=lambda spec: spec.training.distillation in LOSSES.keys() - {"kd"},
    ),
    _fixed("default-keras-io", "keras.io example, untuned", standard=3, settings=_PLAIN, owner="keras.io's"),
    _fixed(
        SCRATCH,
        "No distillation",
        "labels only",
        standard=2,
        prepared=False,
        repeats=True,
        early=True,
        fixed_point=False,
    ),
    Arm(
        key=SCRATCH_OWN,
        label="No distillation, its own recipe",
        method="labels only, with the learning rate and the schedule that validation chose for that on this dataset",
        point=lambda context: context.chosen(),
        candidates=space.recipes,
        prepared=False,
        repeats=True,
        early=True,
        fixed_point=False,
        settings=_PLAIN,
    ),
    Arm(
        key=SCRATCH_TUNED,
        label="No distillation, trained as best",
        method="labels only, with the learning rate, epochs and batch size of `best` as far as these were tuned",
        point=_as_best,
        added=lambda spec: not space.TRAINING_PARAMS.keys().isdisjoint(spec.search.space),
        selects="source",
        prepared=False,
        fixed_point=False,
    ),
    Arm(
        key="class-mean",
        label="Class means of the logits",
        method="as `best`, but with the mean logits of each class instead of the teacher's",
        point=_best,  # only the logits differ from best
        selects="source",
        control="the mean logits of each class: how alike the classes are, nothing about the single image",
    ),
    Arm(
        key="shuffled-within-class",
        label="Logits shuffled in a class",
        method="as `best`, but with the teacher's logits permuted among the images of each class",
        point=_best,
        selects="source",
        control="the logits of another image of the same class",
    ),
    _fixed(
        "label-smoothing",
        "Label smoothing, no teacher",
        "labels smoothed by 0.1, no teacher",
        prepared=False,
        control="smoothed labels without a teacher",
        settings=_PLAIN,
    ),
    _fixed(
        SAME_COST,
        "No teacher, same cost",
        "labels only, for so many epochs that the arm costs as many operations as `best` with the"
        " search, the confirmation and the teachers that it needed, all counted",
        prepared=False,
        fixed_point=False,
        control="labels only, trained longer at the same cost",
    ),
    _fixed(
        AUTOKERAS,
        "AutoKeras' network",
        "the network that AutoKeras found, trained anew with each seed on labels only",
        on=TARGETS,
        prepared=False,
        fixed_point=False,
        settings=_PLAIN | {"network": AUTOKERAS},
        chosen_in="baselines",
    ),
)
ARMS: Mapping[str, Arm] = {arm.key: arm for arm in _ROWS}
UNTUNED = tuple(space.DEFAULTS)
"""The untuned defaults, of which validation chooses the better one."""
CONTROLS = tuple(arm.key for arm in _ROWS if arm.control)
"""Other explanations of a gain: other logits than the teacher's, smoothed labels, the same cost without a teacher."""
_STANDARD = sorted((arm for arm in _ROWS if arm.standard), key=lambda arm: arm.standard)
SOURCE_ARMS = tuple(arm.key for arm in _STANDARD if arm.is_on("source"))
TARGET_ARMS = tuple(arm.key for arm in _STANDARD if arm.is_on("target"))


def trained_with(values: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Return the values of a point that a student was trained with; an arm with plain kd ignores another loss's.

    AutoKeras' network is trained for `baselines.autokeras_epochs`. arm: "" in the searches.
    """
    if not arm or "loss" not in ARMS[arm].settings:
        return dict(values)
    kept = {"temperature", "alpha", *space.TRAINING_PARAMS} - ({"epochs"} if "network" in ARMS[arm].settings else set())
    kept |= {space.SCHEDULE} if ARMS[arm].candidates else set()
    return {name: value for name, value in values.items() if name in kept}

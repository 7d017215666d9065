"""Check what outcomes say beside their scores, as far as something else in the archive says it, too."""

from collections.abc import Iterator, Mapping

from sweeps.analysis.stored import Done, StoredSweep
from sweeps.plan.outcomes import (
    BaselineOutcome,
    Measured,
    MeasureOutcome,
    StudentOutcome,
    TeacherOutcome,
)
from sweeps.plan.payloads import MeasureTask, StudentTask, TransferTask
from sweeps.service.archives.checks import Check
from sweeps.spec.arms import AUTOKERAS_ARM

UNPROVEN = (
    "seconds and latencies are as the file says: nothing in it proves them; nor does anything prove the test accuracy"
    " of a teacher or a comparison method, or what is said of int8"
)
_TESTED_ALIKE = 0.005  # a kind of machine that rounds otherwise may see a few test images otherwise


def fact_checks(stored: StoredSweep, sizes: Mapping[str, int]) -> Iterator[Check]:
    """Yield what differs; one check that all is well, where nothing does.

    Args:
        sizes: of the blobs that are there, in bytes, by digest.
    """
    wrong = [
        *_other_networks(stored),
        *(check for models in _latest(stored) for check in _measured(stored, models, sizes)),
    ]
    yield from wrong or [Check("facts: sizes, parameters and test accuracies agree")]


def _other_networks(stored: StoredSweep) -> Iterator[Check]:
    """Find students that are not of the size of the others on their dataset: they share one network."""
    first: dict[str, tuple[str, int]] = {}
    for done in stored.done:
        payload, outcome = done.payload, done.outcome
        if not isinstance(payload, StudentTask) or not isinstance(outcome, StudentOutcome):
            continue
        if isinstance(payload, TransferTask) and payload.arm == AUTOKERAS_ARM:
            continue  # it is the network that AutoKeras found
        key, expected = first.setdefault(payload.role, (done.record.key, outcome.parameters))
        if outcome.parameters != expected:
            text = f"it says {outcome.parameters} parameters, and {key}, of the same network, {expected}"
            yield Check(f"outcome of {done.record.key}", text)


def _latest(stored: StoredSweep) -> list[tuple[Done, Mapping[str, Measured]]]:
    """Return what was measured last, which is what a report shows: models that were tried again are in it."""
    done = [one for one in stored.done if isinstance(one.payload, MeasureTask)][-1:]
    return [(one, one.outcome.models) for one in done if isinstance(one.outcome, MeasureOutcome)]


def _measured(
    stored: StoredSweep, latest: tuple[Done, Mapping[str, Measured]], sizes: Mapping[str, int]
) -> Iterator[Check]:
    task, models = latest
    if models and task.score not in [one.latency_ms_p50 for one in models.values()]:
        yield Check(f"outcome of {task.record.key}", f"its score is {task.score}, and no latency is")
    made = {done.record.key: done.outcome for done in stored.done}
    for key, one in models.items():
        what, outcome = f"{task.record.key} of {key}", made.get(key)
        if not isinstance(outcome, TeacherOutcome | StudentOutcome | BaselineOutcome):
            yield Check(what, "there is no such training")
            continue
        if "model" not in outcome.blobs:
            yield Check(what, "that training kept no model")
        size = sizes.get(outcome.blobs.get("model", ""))
        if None not in (one.bytes, size) and one.bytes != size:
            yield Check(what, f"it says {one.bytes} bytes, and the model in the file has {size}")
        if one.parameters not in (None, outcome.parameters):
            yield Check(what, f"it says {one.parameters} parameters, and the training {outcome.parameters}")
        tested = outcome.test_accuracy if isinstance(outcome, StudentOutcome) else None
        if one.test_accuracy is None or tested is None:
            continue
        if abs(one.test_accuracy - tested) > _TESTED_ALIKE:
            yield Check(what, f"it says test accuracy {one.test_accuracy:.4f}, and the training {tested:.4f}")

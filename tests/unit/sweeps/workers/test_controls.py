"""The logits of the controls, and how long scratch trains at the same cost."""

import numpy as np
import pytest

from kd.teachers import logits_file
from sweeps.distill.arms import CONTROLS, TARGET_ARMS
from sweeps.distill.cost import Macs, equal_cost_epochs
from sweeps.distill.session import taught_by
from sweeps.distill.space import FIXED_POINTS
from sweeps.spec.model import override
from tests.support.points import at
from tests.support.sweeps.presets import before

LOGITS = np.random.default_rng(0).normal(0, 3, (12, 4)).astype(np.float32)
LABELS = np.arange(12) % 4
VIEWS = np.stack([LOGITS, -LOGITS])


@pytest.mark.parametrize("logits", [LOGITS, VIEWS], ids=["one view", "two views"])
def test_only_controls_replace_the_logits(logits: np.ndarray) -> None:
    for arm in ("", *TARGET_ARMS, "scratch-same-cost"):
        assert taught_by(arm, logits, LABELS, seed=1) is logits
    assert np.array_equal(taught_by("class-mean", logits, LABELS, seed=1), logits_file.class_mean(logits, LABELS))
    assert not taught_by("label-smoothing", logits, LABELS, seed=1).any()
    shuffled = taught_by("shuffled-within-class", logits, LABELS, seed=1)
    assert np.array_equal(shuffled, logits_file.shuffled_within_class(logits, LABELS, 1))
    assert not np.array_equal(shuffled, logits)
    assert not np.array_equal(shuffled, taught_by("shuffled-within-class", logits, LABELS, seed=2))


def test_label_smoothing_has_the_point_of_a_uniform_teacher() -> None:
    assert FIXED_POINTS["label-smoothing"] == at(1.0, 1 - logits_file.LABEL_SMOOTHING)
    assert set(CONTROLS) - {"class-mean", "shuffled-within-class"} <= set(FIXED_POINTS)


SPEC = override(
    before("tiny"),
    {
        "source.images": 1000,
        "source.epochs": 4,
        "source.teacher_epochs": 6,
        "target.images": 500,
        "target.epochs": 10,
        "target.teacher_epochs": 8,
        "search.trials": 13,
        "confirm.rounds": [[4, 1], [3, 2]],  # 10 trainings
        "transfer.seeds": 5,
    },
)
MACS = {"source": Macs(student=10, teacher=100), "target": Macs(student=20, teacher=300)}


def test_scratch_same_cost_has_the_total_cost_of_best() -> None:
    search = 23 * 10 * 1000 * 4 + 100 * 1000 * 6  # students and the teacher of the source
    for role, shared in (("source", search), ("target", search + 300 * 500 * 8)):
        part, student = SPEC.role(role), MACS[role].student
        epochs = equal_cost_epochs(SPEC, MACS, role)
        best = shared + 5 * student * part.images * part.epochs
        scratch = 5 * student * part.images * epochs
        assert scratch == pytest.approx(best, abs=5 * student * part.images / 2), "to half an epoch"


def test_a_pretrained_teacher_costs_one_forward_pass() -> None:
    ready = override(SPEC, {"target.teacher": "pretrained:mobilenet"})
    spared = 300 * 500 * (8 - 1 / 3) / 5 / (20 * 500)
    assert equal_cost_epochs(SPEC, MACS, "target") - equal_cost_epochs(ready, MACS, "target") == pytest.approx(
        spared, abs=1
    )
    assert equal_cost_epochs(ready, MACS, "source") == equal_cost_epochs(SPEC, MACS, "source")


def test_more_seeds_share_the_cost_of_the_search() -> None:
    few, many = (equal_cost_epochs(override(SPEC, {"transfer.seeds": seeds}), MACS, "target") for seeds in (2, 100))
    assert few > many > SPEC.target.epochs

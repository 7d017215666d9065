"""What takes the teacher's place in a control, and for how long scratch trains at the same cost."""

from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy

from kd.training import logit_controls
from storage.db import engine as engines
from storage.queue.tasks import Claim
from storage.records import queries, selections
from sweeps.spec.arms import CONTROLS, DEFAULT_POINTS, TARGET_ARMS
from sweeps.spec.model import Spec, override
from sweeps.workers.controls import same_cost, taught_by
from sweeps.workers.results import Outcome
from tests.support.sweeps.planted_sweeps import up_to, work
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created

LOGITS = np.random.default_rng(0).normal(0, 3, (12, 4)).astype(np.float32)
LABELS = np.arange(12) % 4
VIEWS = np.stack([LOGITS, -LOGITS])


@pytest.mark.parametrize("logits", [LOGITS, VIEWS], ids=["one view", "two views"])
def test_only_the_controls_of_the_logits_replace_them(logits: np.ndarray) -> None:
    for arm in (None, *TARGET_ARMS, "scratch-same-cost"):
        assert taught_by(arm, logits, LABELS, seed=1) is logits
    assert np.array_equal(taught_by("class-mean", logits, LABELS, seed=1), logit_controls.class_mean(logits, LABELS))
    assert not taught_by("label-smoothing", logits, LABELS, seed=1).any()
    shuffled = taught_by("shuffled-within-class", logits, LABELS, seed=1)
    assert np.array_equal(shuffled, logit_controls.shuffled_within_class(logits, LABELS, 1))
    assert not np.array_equal(shuffled, logits)
    assert not np.array_equal(shuffled, taught_by("shuffled-within-class", logits, LABELS, seed=2))


def test_label_smoothing_is_the_point_that_the_uniform_teacher_needs() -> None:
    temperature, alpha = astuple(DEFAULT_POINTS["label-smoothing"])
    assert (temperature, alpha) == (1.0, 1 - logit_controls.LABEL_SMOOTHING)
    assert set(CONTROLS) - {"class-mean", "shuffled-within-class"} <= set(DEFAULT_POINTS)


SPEC = override(SMALL, {"source.epochs": 4, "target.epochs": 10, "outer.teachers": 2})
TEACHER_S = {"teachers#source": 24.0, "teachers#target": 12.0, "teachers#source@t1": 1000.0}


def costing(seconds: Callable[[Claim], float]) -> Callable[..., Outcome]:
    """The quadratic runner, whose trainings take that many CPU seconds."""

    def run(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        found = quadratic(claim, params, on_step)
        return changed(found, cpu_s=seconds(claim))

    return run


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[tuple[sqlalchemy.Engine, int, Spec]]:
    """A sweep whose searches are done. Of four students the first took 9 s, it also compiled; the others took 2 s."""

    def seconds(claim: Claim) -> float:
        return TEACHER_S.get(claim.key, 9.0 if claim.key.endswith("search#0") else 2.0)

    url = created(f"sqlite:///{tmp_path}/s.db", SPEC)
    with pytest.raises(SystemExit):
        work(url, up_to("transfer", costing(seconds)))
    engine = engines.open_engine(url)
    yield engine, queries.find_sweep(engine, "s").id, SPEC
    engine.dispose()


def test_the_same_cost_is_the_median_student_and_its_share_of_the_teacher(
    searched: tuple[sqlalchemy.Engine, int, Spec],
) -> None:
    engine, sweep, spec = searched
    # a student 2 s, its share of the source's teacher 24 s / 4 = 6 s: four times the epochs
    assert same_cost(engine, sweep, spec, "source") == 4 * 4
    # of the target's 12 s / 4 = 3 s: two and a half times
    assert same_cost(engine, sweep, spec, "target") == 25
    stored = queries.selections(engine, sweep)
    assert stored["same-cost.source"] == {"epochs": 16, "student_cpu_s": 2.0, "teacher_share_cpu_s": 6.0}


def test_the_first_to_ask_decides_for_all(searched: tuple[sqlalchemy.Engine, int, Spec]) -> None:
    engine, sweep, spec = searched
    decided = {"epochs": 7, "student_cpu_s": 1.0, "teacher_share_cpu_s": 0.75}
    selections.insert_or_ignore(engine, sweep, "same-cost.source", decided)
    assert same_cost(engine, sweep, spec, "source") == 7

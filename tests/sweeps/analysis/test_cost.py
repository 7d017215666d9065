"""What accuracy costs: AutoKeras' curve against the sweep's own cost, and the advice written from the numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.queue.tasks import Claim
from storage.url import resolve
from sweeps.analysis.analysis import Analysis
from sweeps.analysis.cost import BreakEven, break_even, machines, reached, said
from sweeps.analysis.load import analyse
from sweeps.plan.outcomes import Measured, MeasureOutcome
from sweeps.query.opening import open_sweep
from sweeps.report.cost_section import section
from sweeps.service.create import create_sweep
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL

# Planted: every training but AutoKeras' costs 2 CPU s; `best` has 0.7 on the target.
SPEC = override(SMALL, {"baselines.methods": ["autokeras", "mobilenet"], "confirm.seeds": 2})
SWEEP_CPU_S = 2 * (2 + 4 + 2)  # two teachers, four trials, one candidate on two seeds
CURVE = [(3.0, 0.60), (10.0, 0.65), (40.0, 0.72), (70.0, 0.75)]


def planted(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    found = quadratic(claim, params, on_step)
    values: dict[str, Any] = {"cpu_s": 2.0, "train_s": 3.0}
    if claim.stage == "measure":
        models = {
            "transfer#source.best.0": {"bytes": 100_000, "latency_ms_p50": 0.2},
            "transfer#target.best.0": {"bytes": 100_000, "latency_ms_p50": 0.2, "int8_test_accuracy": 0.6},
            "baselines#autokeras": {"bytes": 900_000, "latency_ms_p50": 0.4, "test_accuracy": 0.74},
            "baselines#mobilenet": {"bytes": 1_200_000, "latency_ms_p50": 0.8, "test_accuracy": 0.73},
        }
        more = {"latency_ms_p95": 1.0, "images_per_s": 1000.0, "macs": 2_000_000}
        measured = MeasureOutcome(models={key: Measured(**one, **more) for key, one in models.items()})
        return Outcome(score=0.2, values=measured, attrs={})
    if claim.stage == "transfer":
        values |= {"val_accuracy": 0.7, "test_accuracy": 0.69}
    if claim.payload.get("method") == "autokeras":
        values |= {"curve": CURVE, "cpu_s": 70.0, "val_accuracy": 0.75, "detail": "vanilla blocks"}
    return replace(changed(found, **values), score=values.get("val_accuracy", found.score), attrs={})


@pytest.fixture
def found(tmp_path: Path) -> Analysis:
    url = resolve(f"sqlite:///{tmp_path}/a.db")
    create_sweep(url, "s", SPEC)
    with Worker(url, "s", run=planted) as worker:
        assert worker.work() == 0
    with open_sweep(url, "s") as (engine, sweep):
        return analyse(engine, sweep)


def test_break_even_is_read_off_the_curve_at_multiples_of_what_the_sweep_cost(found: Analysis) -> None:
    even = break_even(found.comparison, "target")
    assert even is not None
    assert even.sweep_cpu_s == pytest.approx(SWEEP_CPU_S)
    assert even.student == pytest.approx(70)
    # A quarter is 4 s, then 16 and 64; 256 s are beyond the 70 that it was given.
    assert even.at == pytest.approx((60.0, 65.0, 72.0, None))
    assert even.even_at == 40
    assert "reached it after 40 CPU s, 2.5 times what the sweep took" in said(even)
    assert "1/4x 60.00 %, 1x 65.00 %, 4x 72.00 %, 16x beyond its 70 CPU s" in said(even)


def test_a_search_that_never_gets_there_says_within_how_many_seconds() -> None:
    never = BreakEven(
        dataset="d", curve=((5.0, 50.0),), student=60, sweep_cpu_s=10, at=(None, None, None, None), even_at=None
    )
    assert "AutoKeras: not within 5 CPU s" in said(never)
    assert "1/4x no trial finished yet, 1x beyond its 5 CPU s" in said(never)


@pytest.mark.parametrize(("seconds", "expected"), [(2.9, None), (3, 60.0), (39, 65.0), (70, 75.0), (70.1, None)])
def test_before_the_first_trial_and_after_the_last_nothing_is_known(seconds: float, expected: float | None) -> None:
    assert reached([(at, 100 * accuracy) for at, accuracy in CURVE], seconds) == expected
    assert reached([], seconds) is None


def test_seconds_of_different_machines_are_not_compared(found: Analysis) -> None:
    other = found.comparison.tasks[-1].outcome
    assert other is not None
    other["provenance"] = other["provenance"] | {"cpu": "Another CPU"}
    assert len(machines(found.comparison.tasks)) == 2
    assert break_even(found.comparison, "target") is None
    text = "\n".join(section(found))
    assert "**Seconds are not compared**: the tasks ran on 2 kinds of machine" in text
    assert "cheapest to train" not in text


def test_the_advice_names_the_best_of_each_kind_and_ranks_by_none(found: Analysis) -> None:
    text = "\n".join(section(found))
    target = text[text.index(f"On {SPEC.target.dataset}:") :]
    assert "- most accurate: autokeras (vanilla blocks), 74.00 % (n=1)" in target
    assert "- smallest file: best (" in target
    assert "- fastest: best (" in target
    assert "- nothing is both faster and more accurate: best (69.0 %), native (69.0 %), autokeras (74.0 %)" in target
    # mobilenet: 2 CPU s and nothing shared; best: 2 s and its share; so mobilenet is cheapest and better than best.
    assert "- cheapest to train: mobilenet, 73.00 % (n=1), 2 CPU s" in target
    assert "- nothing is both cheaper to train and more accurate: mobilenet (73.0 %), autokeras (74.0 %)" in target
    assert "| autokeras |" in text
    assert "| 2.00 | 900 |" in text


def test_nothing_measured_is_nothing_said(tmp_path: Path) -> None:
    url = resolve(f"sqlite:///{tmp_path}/a.db")
    create_sweep(url, "s", SPEC)
    with Worker(url, "s", run=lambda claim, params, on_step: _until_measure(claim, params, on_step)) as worker:
        worker.work()
    with open_sweep(url, "s") as (engine, sweep):
        assert section(analyse(engine, sweep)) == []


def _until_measure(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    if claim.stage == "measure":
        raise RuntimeError("no room")
    return planted(claim, params, on_step)


def test_what_a_measured_student_learnt_is_not_told_of_the_others(found: Analysis) -> None:
    rows = {row.method: row for row in found.comparison.rows() if row.dataset == SPEC.target.dataset}
    assert rows["best"].measured["int8_test_accuracy"] == 0.6
    assert rows["native"].measured["bytes"] == rows["best"].measured["bytes"]
    assert "int8_test_accuracy" not in rows["native"].measured

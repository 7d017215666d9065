"""The cost of accuracy: the curve of AutoKeras against the cost of the sweep."""

from dataclasses import replace

import pytest

from sweeps.distill.cost import break_evens, reached
from sweeps.findings.load import StoredSweep, provenance
from sweeps.findings.rows import rows
from tests.support.present import present
from tests.support.sweeps import builders
from tests.support.sweeps.costed_sweeps import CURVE, SPEC, SWEEP_CPU_S, planted


@pytest.fixture(scope="module")
def stored() -> StoredSweep:
    return builders.stored(SPEC, planted)


def test_break_even_is_read_off_the_curve_at_multiples_of_the_cost_of_the_sweep(stored: StoredSweep) -> None:
    (even,) = break_evens(stored, provenance(stored))
    assert even.dataset == SPEC.target.dataset
    assert even.sweep_cpu_s == pytest.approx(SWEEP_CPU_S)
    assert even.student == pytest.approx(70)
    # A quarter of the cost is 4 s, then 16 and 64 s; 256 s is beyond the budget of 70 s.
    assert even.at == pytest.approx((60.0, 65.0, 72.0, None))
    assert even.even_at == 40


@pytest.mark.parametrize(("seconds", "expected"), [(2.9, None), (3, 60.0), (39, 65.0), (70, 75.0), (70.1, None)])
def test_before_the_first_trial_and_after_the_last_there_is_no_value(seconds: float, expected: float | None) -> None:
    assert reached([(at, 100 * accuracy) for at, accuracy in CURVE], seconds) == expected


def test_seconds_of_different_machines_are_not_compared(stored: StoredSweep) -> None:
    *before, last = stored.jobs
    outcome = present(last.outcome)
    moved = outcome.model_copy(update={"provenance": {**outcome.provenance, "cpu": "Another CPU"}})
    other = replace(stored, jobs=(*before, replace(last, outcome=moved)))
    mixed = provenance(other)
    assert len(mixed.machine_kinds) == 2
    assert ("Another CPU", mixed.machine_kinds[0][1]) in mixed.machine_kinds
    assert len(provenance(stored).machine_kinds) == 1
    assert break_evens(other, mixed) == ()


def test_measured_values_belong_to_the_measured_student_alone(stored: StoredSweep) -> None:
    measured = {row.method: row.measured for row in rows(stored) if row.dataset == SPEC.target.dataset}
    best, native = present(measured["best"]), present(measured["native"])
    assert best.int8_test_accuracy == 0.6
    assert native.bytes == best.bytes == 100_000
    assert native.int8_test_accuracy is None
    assert "int8_test_accuracy" not in native.model_fields_set


def test_without_autokeras_there_is_no_break_even(stored: StoredSweep) -> None:
    without = replace(stored, jobs=tuple(job for job in stored.jobs if job.key != "baselines#autokeras"))
    assert break_evens(without, provenance(without)) == ()
    assert reached([], 1.0) is None

"""A sweep whose costs are planted: AutoKeras against the distilled student. Imports no pytest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sweeps.plan.jobs import AnyJob, Measured, MeasureOutcome, MeasureTask
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL

# Planted: every training but AutoKeras' costs 2 CPU s; `best` has 0.7 on the target.
SPEC = override(SMALL, {"baselines.methods": ["autokeras", "mobilenet"], "confirm.seeds": 2})
SWEEP_CPU_S = 2 * (2 + 4 + 2)  # two teachers, four trials, one candidate on two seeds
CURVE = ((3.0, 0.60), (10.0, 0.65), (40.0, 0.72), (70.0, 0.75))


def planted(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    """Run `quadratic` with planted seconds, accuracies and measurements."""
    outcome = quadratic(claim, params, on_step)
    values: dict[str, Any] = {"cpu_s": 2.0, "train_s": 3.0}
    if isinstance(claim.work, MeasureTask):
        models = {
            "transfer#source.best.0": {"bytes": 100_000, "latency_ms_p50": 0.2},
            "transfer#target.best.0": {"bytes": 100_000, "latency_ms_p50": 0.2, "int8_test_accuracy": 0.6},
            "baselines#autokeras": {"bytes": 900_000, "latency_ms_p50": 0.4, "test_accuracy": 0.74},
            "baselines#mobilenet": {"bytes": 1_200_000, "latency_ms_p50": 0.8, "test_accuracy": 0.73},
        }
        timings = {"latency_ms_p95": 1.0, "images_per_s": 1000.0, "macs": 2_000_000}
        measured = MeasureOutcome(models={key: Measured(**model, **timings) for key, model in models.items()})
        return Outcome(score=0.2, values=measured, attrs={})
    if claim.row.stage == "transfer":
        values |= {"val_accuracy": 0.7, "test_accuracy": 0.69}
    if claim.row.payload.get("method") == "autokeras":
        values |= {"curve": CURVE, "cpu_s": 70.0, "val_accuracy": 0.75, "detail": "vanilla blocks"}
    return replace(changed(outcome, **values), score=values.get("val_accuracy", outcome.score), attrs={})

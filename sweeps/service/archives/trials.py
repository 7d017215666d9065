"""Make the trials that a sweep's studies have to have: `import` stores them, and `verify` says where it could not."""

from functools import partial
from typing import Any

from storage.archive.lines import AttemptLine, SweepLines, TaskLine
from storage.archive.trials import trials_of
from storage.studies.space import EndedTrial, study_name
from sweeps.plan.payloads import read_payload
from sweeps.plan.points import attributes
from sweeps.plan.tasks import STAGES
from sweeps.spec.model import Spec


def trials(lines: SweepLines, spec: Spec) -> dict[str, list[EndedTrial]]:
    """Return the trials of each stage's study.

    Args:
        lines: without a running attempt.

    Raises:
        storage.errors.ArchiveBroken: their numbers are not those of a study.
        storage.errors.RecordBroken: an outcome does not say how its trial ended.
    """
    asked = partial(_asked, spec)
    return {stage: trials_of(lines, study_name(lines.sweep.name, stage), asked) for stage in STAGES}


def _asked(spec: Spec, attempt: AttemptLine, task: TaskLine) -> dict[str, Any]:
    """Return what a worker says of a trial when it asks for it."""
    return attributes(
        spec,
        read_payload(task.stage, task.payload, key=task.key),
        key=task.key,
        stage=task.stage,
        attempt=attempt.number,
        worker=attempt.worker,
        retry_of=attempt.retry_of,
    )

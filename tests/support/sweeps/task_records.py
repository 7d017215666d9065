"""Records of tasks as a storage returns them, for tests without a storage."""

from typing import Any

from storage.tables import TaskRecord


def task_record(
    key: str,
    number: int = 0,
    *,
    stage: str = "search",
    phase: str = "",
    state: str = "done",
    payload: dict[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
    score: float | None = None,
) -> TaskRecord:
    """Return a task with that id and trial number."""
    return TaskRecord(
        id=number,
        sweep_id=1,
        key=key,
        stage=stage,
        phase=phase or stage,
        payload=payload or {},
        state=state,
        attempt=1,
        score=score,
        outcome=outcome,
        started_at=0.0,
        finished_at=1.0,
        trial_number=number,
        study="s",
        worker="w",
    )

"""A model of the task table in plain Python, for the stateful test. Imports nothing from the product.

Written from the design, not from the code: where the table makes one pass in plan order, this repeats until nothing
changes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

ENDED = ("closed", "failed", "skipped")


@dataclass
class ModelAttempt:
    worker: str
    state: str = "running"
    error_class: str | None = None
    lapsed: bool = False
    params: dict[str, Any] | None = None


@dataclass
class ModelTask:
    id: int
    key: str
    phase: str
    priority: int
    state: str = "waiting"
    attempts: list[ModelAttempt] = field(default_factory=list)
    retries_reset_at: int = 0


@dataclass
class ModelPhase:
    name: str
    needs: list[tuple[str, bool]]  # a phase, and whether its failure also meets the need
    minimum: int
    state: str = "blocked"


class Model:
    """A model of one sweep; each method returns what the operation of the same name does."""

    def __init__(self, phases: Sequence[ModelPhase]) -> None:
        self.phases = {phase.name: phase for phase in phases}
        self.tasks: list[ModelTask] = []
        self.state = "active"
        self.revision = 1

    def plan(self, tasks: Sequence[ModelTask]) -> None:
        self.tasks = list(tasks)
        self._settle()

    # workers

    def claim(self, worker: str) -> tuple[str, int, dict[str, Any] | None] | None:
        """Return key and number of the attempt, and the parameters of the latest attempt that had any."""
        candidates = sorted(self.ready(), key=lambda task: (-task.priority, task.id)) if self.state == "active" else []
        if not candidates:
            return None
        task = candidates[0]
        points = [attempt.params for attempt in task.attempts if attempt.params is not None]
        task.state = "running"
        task.attempts.append(ModelAttempt(worker))
        return task.key, len(task.attempts), points[-1] if points else None

    def renew(self, id: int, number: int) -> bool:
        ours = self._ours(id, number)
        if ours:
            self.attempt(id, number).lapsed = False
        return ours

    def save_point(self, id: int, number: int, params: dict[str, Any]) -> bool:
        ours = self._ours(id, number)
        if ours:
            self.attempt(id, number).params = params
        return ours

    def finish(self, id: int, number: int) -> bool:
        """Return True also for a finish that is stored already and whose acknowledgement was lost."""
        if self._ours(id, number):
            self.task(id).state = self.attempt(id, number).state = "done"
            self._settle()
        return self.attempt(id, number).state == "done"

    def end(self, id: int, number: int, state: str, error_class: str | None, cap: int | None) -> bool:
        if not self._ours(id, number):
            return False
        task, attempt = self.task(id), self.attempt(id, number)
        attempt.state, attempt.error_class = state, error_class
        alike = [earlier for earlier in task.attempts[task.retries_reset_at :] if earlier.error_class == error_class]
        task.state = "waiting" if cap is None or len(alike) < cap else "failed"
        self._settle()
        return True

    def reap(self, worker: str | None, error_class: str, cap: int | None) -> list[tuple[str, int, str]]:
        """Reap every lapsed attempt, or all of one worker."""
        reaped = []
        for task in self.tasks:
            if task.state != "running":
                continue
            attempt, number = task.attempts[-1], len(task.attempts)
            if attempt.lapsed if worker is None else attempt.worker == worker:
                self.end(task.id, number, "lost", error_class, cap)
                reaped.append((task.key, number, attempt.worker))
        return reaped

    # commands of the owner

    def pause(self) -> None:
        self.state = "paused" if self.state == "active" else self.state

    def resume(self) -> int:
        self.state = "active"
        cancelled_tasks = [task for task in self.tasks if task.state == "cancelled"]
        for task in cancelled_tasks:
            task.state = "waiting"
        return len(cancelled_tasks)

    def cancel(self) -> int:
        self.state = "cancelled"
        unended = [task for task in self.tasks if task.state in ("waiting", "running")]
        for task in unended:
            if task.state == "running":
                task.attempts[-1].state = "released"
            task.state = "cancelled"
        return len(unended)

    def may_extend(self, phases: Collection[str], while_open: Collection[str]) -> bool:
        states = {name: self.phases[name].state for name in phases}
        refused = any(
            state in ("failed", "skipped") or (state == "closed" and name in while_open)
            for name, state in states.items()
        )
        return not refused and self.state != "cancelled"

    def extend(self, added: Sequence[ModelTask]) -> None:
        for task in added:
            if self.phases[task.phase].state == "closed":
                self.phases[task.phase].state = "open"
        self.tasks += added
        self.revision += 1

    def failed(self) -> list[ModelTask]:
        return [task for task in self.tasks if task.state in ("failed", "skipped")]

    def retry(self, added: Sequence[ModelTask]) -> None:
        failed_tasks = self.failed()
        touched = {task.phase for task in [*failed_tasks, *added]}
        for phase in self.phases.values():
            if phase.state in ("failed", "skipped") or (phase.state == "closed" and phase.name in touched):
                phase.state = "blocked"
        for task in failed_tasks:
            task.state, task.retries_reset_at = "waiting", len(task.attempts)
        self.tasks += added
        self.revision += bool(added)
        self._settle()

    # state

    def task(self, id: int) -> ModelTask:
        return next(task for task in self.tasks if task.id == id)

    def attempt(self, id: int, number: int) -> ModelAttempt:
        return self.task(id).attempts[number - 1]

    def ready(self) -> list[ModelTask]:
        return [task for task in self.tasks if task.state == "waiting" and self.phases[task.phase].state == "open"]

    def _ours(self, id: int, number: int) -> bool:
        return self.attempt(id, number).state == "running"

    def _of(self, phase: ModelPhase) -> list[ModelTask]:
        return [task for task in self.tasks if task.phase == phase.name]

    def _settle(self) -> None:
        while any(self._decide(phase) for phase in self.phases.values()):
            pass

    def _decide(self, phase: ModelPhase) -> bool:
        before = phase.state
        if phase.state == "blocked":
            hard = [self.phases[need].state for need, after_any_end in phase.needs if not after_any_end]
            awaited = [self.phases[need].state for need, _ in phase.needs]
            if "failed" in hard or "skipped" in hard:
                phase.state = "skipped"
                for task in self._of(phase):
                    task.state = "skipped" if task.state == "waiting" else task.state
            elif all(state in ENDED for state in awaited):
                phase.state = "open"
        elif phase.state == "open" and not any(
            task.state in ("waiting", "running", "cancelled") for task in self._of(phase)
        ):
            done = sum(task.state == "done" for task in self._of(phase))
            phase.state = "closed" if done >= phase.minimum else "failed"
        return phase.state != before

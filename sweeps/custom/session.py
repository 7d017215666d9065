"""Run a user's trainings in one worker, each in a child process."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kd.errors import SubprocessFailed
from kd.tools.processes import Child, started
from sweeps.custom import command, function
from sweeps.custom.results import Bounds, Request, Result
from sweeps.custom.spec import CustomSpec
from sweeps.trainers.protocol import Artifacts, Point, Progress, Run, Trained


@dataclass
class CustomTrainer:
    # A child process lives for one run: it frees its memory and its GPU, and cannot affect the next run.
    spec: CustomSpec
    artifacts: Artifacts
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _child: Child | None = None
    _validation: float = 0.0

    def check(self) -> None:
        """Check nothing: the training reads its data, and the engine compares its files."""

    def train(self, run: Run, progress: Progress) -> Trained:
        self._open.close()  # of an earlier run without a test
        self._child = None
        table, score = self.spec.trainer, self.spec.score
        curve: list[float | None] = []

        def on_report(fraction: float | None, text: str, validation: tuple[float | None, ...]) -> None:
            # A value out of bounds, such as a percentage, does not end a training, but must not be stored.
            curve.extend(at if at is not None and score.low <= at <= score.high else None for at in validation)
            if fraction is None:
                progress()
            else:
                progress(fraction, text or _validation_text(validation))

        work: Callable[..., Any] = command.work if table.command else function.work
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(self.artifacts.folder(run))
            request = Request(
                train=table.command or table.train,
                test=table.tests,
                point=(run.point or Point.of({})).as_dict(),
                seed=run.seed,
                dataset=self.spec.role(run.role).dataset,
                role=run.role,
                arm=run.arm,
                folder=str(folder),
                bounds=Bounds(score.name, score.low, score.high),
            )
            child = stack.enter_context(started(work, request, group=True))
            try:
                result: Result = child.result(on_step=progress.check, on_report=on_report)
            except SubprocessFailed as error:
                if table.command:
                    raise  # it names the program
                raise type(error)(f"{os.path.basename(table.train)} returned no score: {error}") from error
            progress()
            if run.arm and table.tests:  # in the comparison, the child keeps its model for the test
                self._open, self._child = stack.pop_all(), child
        self._validation = result.validation
        if curve and curve[-1] != self._validation:  # the audit expects the score as last value of a curve
            curve.append(self._validation)
        return Trained(
            score=self._validation,
            curve=curve,
            train_s=result.train_s,
            cpu_s=result.cpu_s,
            size=result.size,
            facts={"facts": result.facts} if result.facts else {},
        )

    def test(self, run: Run, progress: Progress) -> float:
        if self._child is None:
            return self._validation
        with self._open:
            child, self._child = self._child, None
            score: float = child.result(on_step=progress.check, on_report=lambda *_: progress())
        return score


def _validation_text(validation: tuple[float | None, ...]) -> str:
    return f"validation {validation[0]:.4g}" if validation and validation[0] is not None else ""

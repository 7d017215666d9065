"""The questions and orders that a database and a service both take."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from sweeps.places.answers import AuditAnswer, BestAnswer, Extended, More
from sweeps.query.listing import SweepRow, TrialRow
from sweeps.query.status import Status
from sweeps.query.workers import WorkerRow

if TYPE_CHECKING:  # takes a tenth of a second, and most questions are not for findings
    from sweeps.analysis.findings import Findings


class Place(Protocol):
    """Where sweeps are.

    Every method that takes a name raises SpecError where no sweep can have it, and what `storage.errors` and
    `sweeps.errors` have for a place that cannot answer. No question changes anything.
    """

    @property
    def label(self) -> str:
        """What it is and where, without a password: "storage sqlite:///kd-sweeps.db"."""

    def sweeps(self) -> list[SweepRow]:
        """Return one row per sweep."""

    def status(self, name: str) -> Status:
        """Return where a sweep stands."""

    def audit(self, name: str) -> AuditAnswer:
        """Compare the plan, the tasks, their attempts and Optuna's trials."""

    def workers(self, name: str) -> list[WorkerRow]:
        """Return every worker that ever worked on a sweep."""

    def best(self, name: str) -> BestAnswer:
        """Return the best point; NoResultsYet before the first trial."""

    def trials(self, name: str, stage: str | None = None) -> list[TrialRow]:
        """Return one row per task, in the order of the plan."""

    def findings(self, name: str) -> "Findings":
        """Return what a report is made of; NoResultsYet before the first task is done."""

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return what was logged of a task; see `sweeps.service.logs.about_task`."""

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""

    def pause(self, name: str) -> int:
        """Stop starting tasks; return how many are running."""

    def resume(self, name: str) -> int:
        """Go on; return how many tasks are left."""

    def cancel(self, name: str) -> int:
        """Take back every task that has not ended; return how many."""

    def extension(self, name: str, more: More) -> Extended:
        """Return what `extend` would do."""

    def extend(self, name: str, more: More) -> int:
        """Add to a sweep; return how many tasks that adds."""

    def retry(self, name: str) -> list[str]:
        """Let failed tasks wait again; return their keys."""

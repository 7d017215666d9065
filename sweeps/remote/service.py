"""Ask and steer sweeps at a service: the same answers as from its database."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from sweeps.places.answers import AuditAnswer, BestAnswer, Counted, Extended, More, Retried
from sweeps.places.wire import decode
from sweeps.query.listing import SweepRow, TrialRow
from sweeps.query.status import Status
from sweeps.query.workers import WorkerRow
from sweeps.remote.connection import Connection
from sweeps.remote.events import Event, events
from sweeps.spec.model import check_name

if TYPE_CHECKING:
    from sweeps.analysis.findings import Findings

_PAGE = 10_000  # rows at once, the most that the service gives


class Service:
    """A `Place` behind HTTP.

    Args:
        address: as typed; SpecError if it is none. token: "" sends none.
    """

    def __init__(self, address: str, token: str = "") -> None:
        """See the class; nothing is sent yet."""
        self._connection = Connection(address, token)

    @property
    def label(self) -> str:
        """What it is and where."""
        return f"service {self._connection.address}"

    def sweeps(self) -> list[SweepRow]:
        """Return one row per sweep."""
        return self._rows(SweepRow, "sweeps")

    def status(self, name: str) -> Status:
        """Return where a sweep stands."""
        found: Status = self._value(Status, "sweeps", check_name(name))
        return found

    def audit(self, name: str) -> AuditAnswer:
        """Compare the plan, the tasks, their attempts and Optuna's trials."""
        found: AuditAnswer = self._value(AuditAnswer, "sweeps", check_name(name), "audit")
        return found

    def workers(self, name: str) -> list[WorkerRow]:
        """Return every worker that ever worked on a sweep."""
        return self._rows(WorkerRow, "sweeps", check_name(name), "workers")

    def best(self, name: str) -> BestAnswer:
        """Return the best point, and what a finished sweep says of it."""
        found: BestAnswer = self._value(BestAnswer, "sweeps", check_name(name), "best")
        return found

    def trials(self, name: str, stage: str | None = None) -> list[TrialRow]:
        """Return one row per task."""
        return self._rows(TrialRow, "sweeps", check_name(name), "trials", stage=stage)

    def findings(self, name: str) -> "Findings":
        """Return what a report is made of."""
        from sweeps.analysis.findings import Findings

        found: Findings = self._value(Findings, "sweeps", check_name(name), "findings")
        return found

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return what was logged of a task."""
        text = self._connection.get(
            "sweeps", check_name(name), "tasks", key, "log", accept="text/plain", attempt=attempt, lines=lines
        )
        return text.decode("utf-8", "replace").split("\n")

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""
        path = "sweeps", check_name(name), "tasks", key, "log"
        stream = self._connection.lines(*path, follow="true", attempt=attempt, lines=lines)
        for event in events(stream):
            if event.kind == "end":
                return
            if event.kind == "problem":
                raise SweepError(_detail(event))
            yield event.data
        raise SweepError("the service ended the log before the attempt has ended; type the command again")

    def pause(self, name: str) -> int:
        """Stop starting tasks; return how many are running."""
        return self._counted(name, "pause")

    def resume(self, name: str) -> int:
        """Go on; return how many tasks are left."""
        return self._counted(name, "resume")

    def cancel(self, name: str) -> int:
        """Take back every task that has not ended; return how many."""
        return self._counted(name, "cancel")

    def extension(self, name: str, more: More) -> Extended:
        """Return what `extend` would do."""
        found: Extended = self._posted(Extended, name, "extend", more.as_keywords() | {"dry_run": True})
        return found

    def extend(self, name: str, more: More) -> int:
        """Add to a sweep; return how many tasks that adds."""
        found: Extended = self._posted(Extended, name, "extend", more.as_keywords())
        return found.tasks

    def retry(self, name: str) -> list[str]:
        """Let failed tasks wait again; return their keys."""
        found: Retried = self._posted(Retried, name, "retry")
        return list(found.tasks)

    def _counted(self, name: str, order: str) -> int:
        found: Counted = self._posted(Counted, name, order)
        return found.tasks

    def _posted(self, kind: Any, name: str, order: str, body: dict[str, Any] | None = None) -> Any:
        return self._decoded(kind, self._connection.post("sweeps", check_name(name), order, body=body))

    def _value(self, kind: Any, *path: str) -> Any:
        return self._decoded(kind, self._connection.get(*path))

    def _rows(self, kind: Any, *path: str, **query: Any) -> list[Any]:
        """Return the rows of every page."""
        rows: list[Any] = []
        while True:
            page = self._connection.get(*path, limit=_PAGE, offset=len(rows) or None, **query)
            try:
                found = json.loads(page)
                text, more = json.dumps(found["items"]).encode(), found["next_offset"] is not None
            except (ValueError, KeyError, TypeError, RecursionError):
                raise self._another_version("no page of rows") from None
            new = self._decoded(list[kind], text)
            rows += new
            if not more or not new:
                return rows

    def _decoded(self, kind: Any, text: bytes) -> Any:
        try:
            return decode(kind, text)
        except SweepError as error:
            raise self._another_version(str(error)) from None

    def _another_version(self, why: str) -> SweepError:
        return SweepError(
            f"what {self._connection.address} answers cannot be read here ({why}): is it a kd-sweeps serve of this"
            " version? kd-sweeps doctor says which one this is, and its /healthz which one that is"
        )


def _detail(event: Event) -> str:
    try:
        return str(json.loads(event.data)["detail"])
    except (ValueError, KeyError, TypeError):
        return event.data

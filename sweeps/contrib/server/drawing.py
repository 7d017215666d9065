"""Draw reports in another process: a report takes seconds of a core, and a thread would slow every other request."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Any, Literal

import sqlalchemy

from storage.records import queries
from storage.tables import SweepRecord
from sweeps.contrib.server.shared import Places, Shared, in_process
from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.hints import Commands, for_client, local
from sweeps.operations.operation import LocalClient, encode
from sweeps.operations.table import FINDINGS, SweepArgs
from sweeps.report import folder
from sweeps.report.page import report as markdown

Form = Literal["json", "html", "markdown", "findings"]
_QUEUE = 8  # waiting reports, about a minute of work
_KEPT = 50  # reports; the largest has about a megabyte


class Drawings:
    """The reports of one database. Each is drawn once for every change of its sweep, one at a time."""

    def __init__(self, url: sqlalchemy.URL) -> None:
        self._url, self._place, self._shared = url, Places(1, queue=_QUEUE), Shared()
        self._kept = OrderedDict[Hashable, tuple[Any, bytes]]()

    async def get(self, name: str, form: Form, state: Callable[[], Awaitable[Any]]) -> bytes:
        """Return a report of a sweep. state: reads a value that changes whenever the sweep does, see `state_of`."""
        reader = local()
        key = name, form, reader

        async def drawn() -> bytes:
            now = await state()
            before, page = self._kept.get(key, (None, b""))
            if before != now:
                page = await self._place.work(lambda: self._draw(name, form, reader))
                self._kept[key] = now, page
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return page

        return await self._shared.get(key, drawn)

    async def _draw(self, name: str, form: Form, reader: Commands) -> bytes:
        return await in_process(draw, self._url, name, form, reader)


def state_of(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Any:
    """Return a value that changes whenever a report of the sweep may change."""
    return replace(sweep, repaired_at=None), queries.progress(engine, sweep.id)


def draw(url: sqlalchemy.URL, name: str, form: Form, reader: Commands) -> bytes:
    """Return a report. Runs in the drawing process."""
    with for_client(reader):
        findings = LocalClient(url).ask(FINDINGS, SweepArgs(name=name))
        if form == "html":
            return _utf8(folder.files(findings)[folder.PAGE])
        if form == "markdown":
            return _utf8(f"{markdown(findings)}\n")
        if form == "findings":
            return encode(Findings, _without_half_looks(findings))
        return encode(dict[str, Any], folder.json_data(findings))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # as a report is written to a file


def _without_half_looks(findings: Findings) -> Findings:
    """Remove the test scores of each dataset whose comparison is not complete, as every page does."""
    hidden = {role for role in findings.spec.roles if is_incomplete(findings.trainings, role)}
    trainings = tuple(
        replace(training, outcome=training.outcome.model_copy(update={"test_accuracy": None}))
        if training.work.role in hidden and training.outcome is not None
        else training
        for training in findings.trainings
    )
    return replace(findings, trainings=trainings)

"""Show how far a sweep has come, from the database: what is shown is what is stored."""

import contextlib
import time
from collections.abc import Iterator

import sqlalchemy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from storage.errors import StorageError
from sweeps.hints import explain
from sweeps.plan.tasks import STAGES
from sweeps.query.status import stage_counts

_LINE_EVERY_S = 15.0  # where no terminal shows a bar


@contextlib.contextmanager
def shown(engine: sqlalchemy.Engine, sweep_id: int, console: Console) -> Iterator["Refresh"]:
    """Show the stages while the block runs; a call of what it gives brings them up to date."""
    progress = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        refresh = Refresh(engine, sweep_id, console, progress)
        refresh()
        yield refresh
        refresh(last=True)


class Refresh:
    """Draw the stages: bars on a terminal, else a line from time to time."""

    def __init__(self, engine: sqlalchemy.Engine, sweep_id: int, console: Console, progress: Progress) -> None:
        self._engine, self._sweep_id, self._console, self._progress = engine, sweep_id, console, progress
        self._bars: dict[str, TaskID] = {}
        self._line = ""
        self._line_at = -_LINE_EVERY_S

    def __call__(self, *, last: bool = False) -> None:
        """Read what is stored and draw it; a database that does not answer is one line."""
        try:
            counts = stage_counts(self._engine, self._sweep_id)
        except StorageError as error:  # the workers try again by themselves, and so does the next look
            self._say(explain(error))
            return
        for stage in STAGES:
            row = counts[stage]
            if stage not in self._bars:
                self._bars[stage] = self._progress.add_task(stage, total=row.total, note="", start=False)
            bar = self._bars[stage]
            if row.running or row.ended:
                self._progress.start_task(bar)
            note = f"{row.running} running" if row.running else ""
            note += f"{', ' if note else ''}{row.failed} failed" if row.failed else ""
            self._progress.update(bar, completed=row.ended, note=note)
            if row.ended == row.total:
                self._progress.stop_task(bar)
        if not self._console.is_terminal and (last or time.monotonic() - self._line_at >= _LINE_EVERY_S):
            self._line_at = time.monotonic()
            self._say("  ".join(f"{stage} {counts[stage].ended}/{counts[stage].total}" for stage in STAGES))

    def _say(self, line: str) -> None:
        if line != self._line:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)
        self._line = line

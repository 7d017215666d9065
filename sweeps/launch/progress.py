"""Progress on stderr."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from storage.errors import NotAStorage, StorageError
from sweeps.hints import explain
from sweeps.launch.oversight import Oversight
from sweeps.plan.phases import display_stage
from sweeps.query import status
from sweeps.terminal import duration, escape_control_chars

_LINE_EVERY_S = 15.0  # without a terminal for bars
_LOOK_EVERY_S = 5.0  # reads every task, for the time left and the results
_ALL = "all"
_CELL_WIDTH = 100  # characters of a line in a notebook


@contextlib.contextmanager
def live_progress(queue: Oversight, console: Console, workers: Callable[[], int]) -> Iterator["Refresh"]:
    """Show the stages while the block runs; calling the yielded object refreshes them.

    workers: returns the number of live workers.
    """
    refresh = Refresh(queue, console, workers)
    live = Live(get_renderable=refresh.drawn, console=console, refresh_per_second=2)
    with live if console.is_terminal and refresh.cell is None else contextlib.nullcontext():
        refresh()
        yield refresh
        refresh(last=True)


class _Cell:
    """The output of a notebook cell, where bars replace the earlier ones.

    Unlike rich's own output it needs no widgets, and the last bars are saved with the notebook.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, bars: Group) -> None:
        from IPython.display import display  # installed, since this runs in a notebook

        console = Console(record=True, file=io.StringIO(), force_jupyter=False, force_terminal=True, width=_CELL_WIDTH)
        console.print(bars)
        style = "margin:0;line-height:1.35"
        drawn = console.export_html(inline_styles=True, clear=False, code_format=f'<pre style="{style}">{{code}}</pre>')
        formats = {"text/html": drawn, "text/plain": console.export_text()}
        if self._handle is None:
            self._handle = display(formats, raw=True, display_id=True)
        else:
            self._handle.update(formats, raw=True)


class Refresh:
    """Draw the progress in all and by stage: bars on a terminal and in a notebook, else a line from time to time."""

    def __init__(self, queue: Oversight, console: Console, workers: Callable[[], int]) -> None:
        self._queue, self._console, self._workers = queue, console, workers
        self.cell = _Cell() if console.is_jupyter else None
        self._bars_seen = console.is_terminal or self.cell is not None
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]:>8}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        stages = [stage for stage, count in queue.counts().items() if count.total]
        self._stages = {stage: display_stage(stage, stages) for stage in stages}
        self._bars: dict[str, TaskID] = {
            name: self._progress.add_task(label, total=1.0, count="", note="", start=name == _ALL)
            for name, label in ({_ALL: _ALL} | self._stages).items()
        }
        self._expected, self._insight, self._looked_at = status.Eta(0.0, None, {}), "", float("-inf")
        self._line, self._line_at = "", float("-inf")

    def drawn(self) -> Group:
        return Group(self._progress, Text(self._insight, style="dim", no_wrap=True, overflow="ellipsis"))

    def __call__(self, *, last: bool = False) -> None:
        """Read the counts and draw them; an unreachable database is one line. NotAStorage: it is gone."""
        try:
            counts = self._queue.counts()
            if last or time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
                self._look()
        except NotAStorage:  # permanent
            raise
        except StorageError as error:  # retried by the workers, and by the next refresh
            self._say(explain(error))
            return
        self._progress.update(
            self._bars[_ALL],
            completed=self._expected.fraction,
            count=f"{100 * self._expected.fraction:.0f} %",
            note=self._left(),
        )
        for stage in self._stages:
            self._draw(stage, counts[stage])
        if self.cell is not None:
            self.cell.show(self.drawn())
        if not self._bars_seen and (last or time.monotonic() - self._line_at >= _LINE_EVERY_S):
            self._line_at = time.monotonic()
            stages = "  ".join(
                f"{label} {counts[stage].ended}/{counts[stage].total}" for stage, label in self._stages.items()
            )
            self._say("  ".join(filter(None, [f"{100 * self._expected.fraction:.0f} %", stages, self._left()])))

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        outline = self._queue.outline(self._workers())
        self._expected = outline.eta
        text = escape_control_chars(outline.insight)
        if text != self._insight and not self._bars_seen:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)
        self._insight = text

    def _left(self) -> str:
        seconds = self._expected.seconds_left
        return f"about {duration(max(round(seconds), 1))} left" if seconds else ""

    def _draw(self, stage: str, row: status.StageCount) -> None:
        bar = self._bars[stage]
        if row.running or row.ended:
            self._progress.start_task(bar)
        counts = {"running": row.running, "failed": row.failed, "unavailable": row.unavailable}
        note = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        done = row.ended / row.total if row.total else 1.0
        self._progress.update(bar, completed=done, count=f"{row.ended}/{row.total}", note=note)
        if row.ended == row.total:
            self._progress.stop_task(bar)

    def _say(self, line: str) -> None:
        if line != self._line:
            self._console.print(escape_control_chars(line), highlight=False, soft_wrap=True, markup=False)
        self._line = line

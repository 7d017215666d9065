"""Show the answers of `best`, `status` and `trials` to people."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.analysis.units import percent
from sweeps.cli.formats import Format, render
from sweeps.cli.text import table
from sweeps.hints import here
from sweeps.plan.states import UNAVAILABLE
from sweeps.query.best import Best
from sweeps.query.status import Status
from sweeps.stats.estimates import limits
from sweeps.terminal import columns, duration, fitted, grey, wrapped

_WIDTH = 100  # at most, as a page is read
_LABEL = 12  # characters of the column of labels at least; a searched parameter may have a longer name

_SILENT_S = 30.0  # without a step: worth a word


def describe_best(best: Best, said: Sequence[str] = ()) -> str:
    """Return the point, how sure it is, and what the finished sweep says of it.

    Args:
        said: lines of any length; they are wrapped.
    """
    point = best.point.as_dict()
    wide = max(_LABEL, *map(len, point)) + 1
    lines = [
        *(f"{name:<{wide}}{value:.4g}" for name, value in point.items()),
        *_wrapped("loss", f"{best.loss}  (alpha weighs the labels)", wide),
        *_evidence(best, wide),
        *_wrapped("answer", " ".join(said), wide),
        *([f"{'answer hash':<{wide}}{best.answer_hash}"] if best.answer_hash else []),
        f"{'as code':<{wide}}{here().line('best', best.sweep, '--paste')}",
    ]
    return "\n".join(lines)


def _wrapped(label: str, text: str, wide: int) -> list[str]:
    return wrapped(text, min(columns() or _WIDTH, _WIDTH), first=f"{label:<{wide}}", then=" " * wide)


def _evidence(best: Best, wide: int) -> list[str]:
    """Return its interval, and the incumbent beside it with the reason why they may differ."""
    single, accuracy = best.incumbent, best.accuracy
    trial = f"search trial {single.trial_number}: {single.point.text(4)}, "
    trial += f"{percent(single.score):.2f} % (n=1)"
    if not best.confirmed:
        return [
            *_wrapped("validation", f"{percent(accuracy.mean):.2f} %, n=1: UNCONFIRMED, the best single {trial}", wide),
            *_wrapped("", "a lucky seed can win a search; confirm repeats the best trials on fresh seeds", wide),
        ]
    shown = limits(accuracy)
    if shown is None:
        interval = f", n={accuracy.n}, no interval"
    else:
        low, high = percent(max(shown[0], 0.0)), percent(min(shown[1], 1.0))
        interval = f" [{low:.2f}, {high:.2f}] 95 % t interval, n={accuracy.n} fresh seeds"
    lines = [f"{'validation':<{wide}}{percent(accuracy.mean):.2f} %{interval}", f"{'incumbent':<{wide}}{trial}"]
    if single.point == best.point:
        why = "the best trial in the dashboard is the same point: fresh seeds confirmed it"
    else:
        why = (
            "the best trial in the dashboard is the highest of many single runs, so partly luck; best has the highest"
            " mean when the first search's top trials run again on fresh seeds"
        )
    return [*lines, *_wrapped("", why, wide)]


def describe_status(status: Status) -> str:
    """Return a table of the stages, the workers, what failed, and what to type next."""
    stages = status.shown_stages
    names = ["total", "waiting", "running", "done", "failed", "skipped"]
    names += [name for name in ("cancelled", UNAVAILABLE) if any(getattr(c, name) for c in stages.values())]
    counts = [[stage, *(str(getattr(count, name)) for name in names)] for stage, count in stages.items()]
    head, *rows = table([["stage", *names], *counts])
    lines = [head]
    lines += [grey(row) if count.unavailable else row for row, count in zip(rows, stages.values(), strict=True)]
    lines.append("")
    for one in status.workers:
        left = one.lease_left_s
        lease = f"lease {left:.0f} s" if one.alive else f"lease lapsed {-left:.0f} s ago: its worker is probably dead"
        silent = one.idle_s > max(_SILENT_S, one.limit_s / 10)
        ends = f"; no step for {duration(one.idle_s)}, ends in {duration(max(one.limit_s - one.idle_s, 0))}"
        lines.append(f"worker {one.worker}: {one.task} attempt {one.attempt}, {lease}{ends if silent else ''}")
    lines += [f"worker {one.worker}: {one.state}, last seen {duration(one.seen_s)} ago" for one in status.others]
    lines += status.problems
    if status.problems:
        lines.append(f"to try that again: {here().retry_and_launch(status.sweep)}")
    return "\n".join([*lines, *status.bits.lines(), _next_step(status)])


def _next_step(status: Status) -> str:
    name, seconds = status.sweep, status.seconds_left
    if status.state != "active":
        return f"the sweep is {status.state}; to go on: {here().resume(name)}, then {here().launch(name)}"
    if seconds == 0:
        return f"finished; next: {here().report(name)}"
    if not any(one.alive for one in status.workers):
        frees = " (it takes over what is left)" if status.workers else ""
        return f"no worker is running; next: {here().launch(name)}{frees}"
    left = "unknown yet" if seconds is None else f"about {max(1, round(seconds / 60))} min"
    return f"time left: {left} ({100 * status.fraction:.0f} % done)"


# The columns of `trials` for people; the other formats have all of them.
_SHOWN = [
    "task",
    "state",
    "trial",
    "dataset",
    "temperature",
    "alpha",
    "score",
    "test_accuracy",
    "train_s",
    "cpu_s",
    "reason",
]
# Where the terminal is too narrow: these are called by fewer letters, then these are left out, one after the other.
_SHORT = {"temperature": "T", "test_accuracy": "test"}
_LEFT_OUT = ("cpu_s", "train_s", "trial", "dataset")


def describe_trials(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the tasks. On a terminal it has the columns that fit, and a reason stands below its row."""
    wide, names = columns(), list(_SHOWN)
    if rows:
        keys = list(rows[0])
        place = names.index("score")
        names[place:place] = keys[keys.index("alpha") + 1 : keys.index("score")]  # what else is searched
    if wide is None or not rows:
        return "\n".join(_lines(rows, names, {}))
    names.remove("reason")
    lines = _lines(rows, names, {})
    for name in ("", *_LEFT_OUT):
        if max(map(len, lines)) <= wide:
            break
        names = [one for one in names if one != name]
        lines = _lines(rows, names, _SHORT)
    shown = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        # Of a row that was skipped the state says enough: dozens of them have the same reason.
        reason = "" if row["state"] == "skipped" else " ".join((row["reason"] or "").split())
        below = fitted(f"  {reason}", wide).split("\n") if reason else []
        shown += [grey(text) if row["state"] == UNAVAILABLE else text for text in (line, *below)]
    return "\n".join(shown)


def _lines(rows: Sequence[Mapping[str, Any]], names: Sequence[str], short: Mapping[str, str]) -> list[str]:
    return render([{short.get(name, name): row[name] for name in names} for row in rows], Format.table).splitlines()

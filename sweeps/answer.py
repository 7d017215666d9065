"""The answer to "which T and alpha?": confirmed on fresh seeds where that is done, and honest where it is not."""

from typing import Any

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage import records
from storage.records import SweepRecord, TaskRecord
from sweeps import selection
from sweeps.errors import NothingYet
from sweeps.status import stage_counts


def best(engine: sqlalchemy.Engine, sweep: SweepRecord) -> dict[str, Any]:
    """The best (T, alpha) of a sweep as plain values. Reads only.

    `confirmed` is True when it is the best mean over fresh seeds (`mean`, `low`, `high`: validation accuracy
    as fractions, 95 % t interval, `n` seeds); before confirm is over, it is the single best search trial, n=1.

    Raises:
        NothingYet: no search trial has finished.
    """
    search = records.task_records(engine, sweep.id, phase="search", state="done")
    if not search:
        counts = stage_counts(engine, sweep.id)
        raise NothingYet(
            f"no search trial of {sweep.name} has finished (teachers {counts['teachers'].done}/2, search 0/"
            f"{counts['search'].total}); go on with: kd-sweeps launch {sweep.name}"
        )
    trophy = selection.rank(search, 1)["ranks"][0]
    number = next(task.trial_number for task in search if task.key == trophy["task"])
    found = confirmed(engine, sweep)
    common = {"sweep": sweep.name, "loss": LOSS_FORMULA}
    single = {"temperature": trophy["temperature"], "alpha": trophy["alpha"], "score": trophy["score"]}
    single |= {"task": trophy["task"], "trial_number": number}
    if found is None:
        point = {"temperature": trophy["temperature"], "alpha": trophy["alpha"]}
        return (
            common
            | point
            | {"confirmed": False, "mean": trophy["score"], "low": None, "high": None, "n": 1}
            | {"search_best": single}
        )
    keys = ("temperature", "alpha")
    rest = ("mean", "low", "high", "n", "candidates")
    chosen = {key: found[key] for key in keys} | {"confirmed": True} | {key: found[key] for key in rest}
    return common | chosen | {"search_best": single}


def confirmed(engine: sqlalchemy.Engine, sweep: SweepRecord, name: str = "confirm.best") -> dict[str, Any] | None:
    """The stored selection, or what it will be once the phase is closed; None before."""
    stored: dict[str, Any] | None = records.selections(engine, sweep.id).get(name)
    if stored is not None:
        return stored
    phase = selection.PHASES[name]
    states = {record.name: record.state for record in records.phase_records(engine, sweep.id)}
    if states.get(phase) != "closed":
        return None
    done: list[TaskRecord] = records.task_records(engine, sweep.id, phase=phase, state="done")
    return selection.best(done)


def describe(found: dict[str, Any]) -> str:
    """`best` for people: the point, its interval, and the trophy beside it with the reason they may differ."""
    single = found["search_best"]
    lines = [
        f"temperature  {found['temperature']:.4g}",
        f"alpha        {found['alpha']:.4g}",
        f"loss         {found['loss']}  (alpha weighs the labels)",
    ]
    trophy = f"search trial {single['trial_number']}: T={single['temperature']:.4g}, alpha={single['alpha']:.4g}, "
    trophy += f"{100 * single['score']:.2f} % (n=1)"
    if not found["confirmed"]:
        lines.append(f"validation   {100 * found['mean']:.2f} %, n=1: UNCONFIRMED, the best single {trophy}")
        lines.append("             one lucky seed can win a search; confirm repeats the best trials on fresh seeds")
        return "\n".join(lines)
    if found["n"] > 1:
        interval = f"[{100 * found['low']:.2f}, {100 * found['high']:.2f}] 95 % t interval, n={found['n']} fresh seeds"
    else:
        interval = "n=1, no interval"
    lines.append(f"validation   {100 * found['mean']:.2f} % {interval}")
    lines.append(f"trophy       {trophy}")
    if (single["temperature"], single["alpha"]) == (found["temperature"], found["alpha"]):
        lines.append("             the dashboard's trophy is the same point: it held up on fresh seeds")
    else:
        lines.append("             the dashboard's trophy is the highest of many single runs, so partly luck; best is")
        lines.append("             the highest mean when the top trials run again on fresh seeds")
    return "\n".join(lines)

"""The answer to "which T and alpha?": confirmed on fresh seeds where that is done, and honest where it is not."""

from typing import Any

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.errors import NoResultsYet
from sweeps.plan import selection
from sweeps.query.snippets import snippets
from sweeps.query.status import stage_counts


def best(engine: sqlalchemy.Engine, sweep: SweepRecord) -> dict[str, Any]:
    """The best (T, alpha) of a sweep as plain values. Reads only.

    `confirmed` is True when it is the best mean over fresh seeds (`mean`, `low`, `high`: validation accuracy
    as fractions, 95 % t interval, `n` seeds); before confirm is over, it is the single best search trial, n=1.
    `paste` is the point as code, see `sweeps.query.snippets.snippets`.

    Raises:
        NoResultsYet: no search trial has finished.
    """
    search = queries.task_records(engine, sweep.id, phase="search", state="done")
    if not search:
        counts = stage_counts(engine, sweep.id)
        teachers, trials = counts["teachers"], counts["search"]
        raise NoResultsYet(
            f"no search trial of {sweep.name} has finished (teachers {teachers.done}/{teachers.total},"
            f" search 0/{trials.total}); go on with: kd-sweeps launch {sweep.name}"
        )
    trophy = selection.rank(search, 1)["ranks"][0]
    number = next(task.trial_number for task in search if task.key == trophy["task"])
    found = selection.preview(engine, sweep.id, "confirm.best")
    single = {"temperature": trophy["temperature"], "alpha": trophy["alpha"], "score": trophy["score"]}
    single |= {"task": trophy["task"], "trial_number": number}
    if found is None:
        chosen = {key: trophy[key] for key in ("temperature", "alpha")}
        chosen |= {"confirmed": False, "mean": trophy["score"], "low": None, "high": None, "n": 1}
    else:
        chosen = {key: found[key] for key in ("temperature", "alpha")} | {"confirmed": True}
        chosen |= {key: found[key] for key in ("mean", "low", "high", "n", "candidates")}
    common = {"sweep": sweep.name, "loss": LOSS_FORMULA}
    paste = snippets(chosen["temperature"], chosen["alpha"])
    return common | chosen | {"search_best": single, "paste": paste}


def describe(found: dict[str, Any]) -> str:
    """`best` for people: the point, how sure it is, and the code to paste."""
    lines = [
        f"temperature  {found['temperature']:.4g}",
        f"alpha        {found['alpha']:.4g}",
        f"loss         {found['loss']}  (alpha weighs the labels)",
        *_evidence(found),
        "paste        student and teacher: Keras models that give logits",
    ]
    return "\n\n".join(["\n".join(lines), *found["paste"].values()])


def _evidence(found: dict[str, Any]) -> list[str]:
    """Its interval, and the trophy beside it with the reason they may differ."""
    single = found["search_best"]
    trophy = f"search trial {single['trial_number']}: T={single['temperature']:.4g}, alpha={single['alpha']:.4g}, "
    trophy += f"{100 * single['score']:.2f} % (n=1)"
    if not found["confirmed"]:
        return [
            f"validation   {100 * found['mean']:.2f} %, n=1: UNCONFIRMED, the best single {trophy}",
            "             one lucky seed can win a search; confirm repeats the best trials on fresh seeds",
        ]
    if found["n"] > 1:
        interval = f"[{100 * found['low']:.2f}, {100 * found['high']:.2f}] 95 % t interval, n={found['n']} fresh seeds"
    else:
        interval = "n=1, no interval"
    lines = [f"validation   {100 * found['mean']:.2f} % {interval}", f"trophy       {trophy}"]
    if (single["temperature"], single["alpha"]) == (found["temperature"], found["alpha"]):
        return [*lines, "             the dashboard's trophy is the same point: it held up on fresh seeds"]
    return [
        *lines,
        "             the dashboard's trophy is the highest of many single runs, so partly luck; best is",
        "             the highest mean when the top trials run again on fresh seeds",
    ]

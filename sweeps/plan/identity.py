"""Seeds, and the answer hash; tests pin both by fixed values."""

import hashlib
import json
from collections.abc import Iterable

from storage.tables import TaskRecord


def derive(seed: int, *path: str | int) -> int:
    """Return a seed in [0, 2**31) for one purpose, named by a path such as ("student", "transfer", 3).

    A hash rather than seed + 1, seed + 2: neighbouring sweeps and purposes never share a stream.
    """
    text = "/".join([str(seed), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


DIGITS = 12
KEEP = ("test_accuracy", "capped")  # keys of an outcome, for `storage.records.queries.task_records(keep=...)`


def answer_hash(tasks: Iterable[TaskRecord]) -> str | None:
    """Return the first 12 hex digits of a SHA-256 over all tasks; None until all have ended.

    It covers key, state, parameters, score and test accuracy of every task, except where these do not follow from the
    seeds: in stage measure, whose scores are milliseconds, and of tasks cut short by a time limit.
    """
    lines = []
    for task in tasks:
        if task.state in ("waiting", "running"):
            return None
        if task.stage == "measure":
            continue
        outcome = task.outcome or {}
        line = [task.key, task.state]
        if task.state == "done" and outcome.get("capped"):
            line.append("cut short")
        elif task.state == "done":
            scores = (task.score, outcome.get("test_accuracy"))
            line.append(json.dumps(task.params or {}, sort_keys=True))
            line += ["-" if score is None else float(score).hex() for score in scores]
        lines.append("\t".join(line))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:DIGITS]


def differing(numerics: Iterable[str]) -> str:
    """Return the warning that more than one kind of machine trained."""
    return (
        f"numerics differ: the workers have the fingerprints {', '.join(numerics)}, so their trainings round"
        " differently, and another run of this spec may end with different digits"
    )

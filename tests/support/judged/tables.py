"""Tables of runs as other programs write them. Imports no pytest."""

import csv
import io
from collections.abc import Mapping, Sequence

# Columns of a runs table as W&B's app exports it, a project's own among them; every cell is quoted.
WANDB = (
    *("Name", "Agent", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep"),
    *(
        "batch_size",
        "lr",
        "method",
        "seed",
        "data_dir",
        "best_epoch",
        "epoch",
        "train_loss",
        "val/accuracy",
        "val/loss",
    ),
)
# Of `mlflow experiments csv`, version 3.17, on a store in SQLite.
MLFLOW = (
    *("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time", "metrics.val_acc"),
    *("params.alpha", "params.lr", "params.seed", "tags.mlflow.user", "tags.mlflow.runName"),
    *("tags.mlflow.source.type", "tags.mlflow.source.name"),
)
# Of the download on MLflow's page, which quotes every cell and puts a ' before text that begins like a formula.
MLFLOW_PAGE = (
    *("Start Time", "Duration", "Run ID", "Name", "Source Type", "Source Name", "User", "Status"),
    *("alpha", "lr", "seed", "drift", "val_acc"),
)
# Two settings on four seeds: the second one is about two points better.
SCORES: Mapping[str, Sequence[float]] = {
    "none": (0.701, 0.709, 0.704, 0.706),
    "kd": (0.722, 0.728, 0.726, 0.725),
}


def table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, quoted: bool = False, delimiter: str = ","
) -> str:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator="\n", delimiter=delimiter, quoting=quoting)
    writer.writerows([header, *rows])
    return out.getvalue()


def long(scores: Mapping[str, Sequence[float]] = SCORES, *, score: str = "accuracy") -> str:
    """Return a long CSV: setting, seed, score."""
    rows = [(name, seed, value) for name, values in scores.items() for seed, value in enumerate(values)]
    return table(("setting", "seed", score), rows)


def wandb() -> str:
    rows: list[Sequence[object]] = []
    for method, values in SCORES.items():
        for seed, value in enumerate(values):
            cells = (f"{method}-{seed}", "", "finished", "-", "me", "", "2026-11-13T09:48:11.000Z", 9910 + seed, "")
            rows.append((*cells, 64, 0.001, method, seed, "./data", 3 + seed, 10, 0.1 * seed, value, 1 - value))
    rows.append((*("kd-4", "", "crashed", "-", "me", "", "", 3, ""), 64, 0.001, "kd", 4, "./data", 1, 1, 0.9, "", ""))
    return table(WANDB, rows, quoted=True)


def mlflow() -> str:
    rows: list[Sequence[object]] = []
    for alpha, values in ((1.0, SCORES["none"]), (0.5, SCORES["kd"])):
        for seed, value in enumerate(values):
            cells = (
                f"{alpha}{seed}",
                1,
                "FINISHED",
                "./artifacts",
                "2026-11-30 17:02:06+00:00",
                "2026-11-30 17:02:07+00:00",
            )
            rows.append((*cells, value, alpha, 0.001, seed, "me", f"bold-fish-{seed}", "LOCAL", "train.py"))
    rows.append((*("z", 1, "FAILED", "./artifacts", "", ""), "", 1.0, 0.001, 4, "me", "grey-owl", "LOCAL", "train.py"))
    return table(MLFLOW, rows)


def mlflow_page() -> str:
    rows = [
        (
            *("2026-11-30 17:02:06", "1.0min", f"{alpha}{seed}", "n", "LOCAL", "train.py", "me", "FINISHED"),
            *(alpha, 0.001, seed, f"'-0.0{seed**2 + place}", value),
        )
        for place, (alpha, values) in enumerate(((1.0, SCORES["none"]), (0.5, SCORES["kd"])))
        for seed, value in enumerate(values)
    ]
    return table(MLFLOW_PAGE, rows, quoted=True)

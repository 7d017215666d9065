"""Recognise the tables of other programs by their columns, and the meaning of these columns."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

SEED = ("seed", "random_seed", "rng_seed", "run_seed", "random_state", "seed_id")
DATASET = ("dataset", "dataset_name", "data", "benchmark", "task", "env", "env_id", "environment")
SETTING = (
    "setting",
    "arm",
    "config",
    "method",
    "variant",
    "condition",
    "approach",
    "algorithm",
    "algo",
    "group",
    "name",
)
SCORE = (
    *("score", "test_score", "val_score", "value", "result", "metric"),
    *("test_accuracy", "test_acc", "accuracy", "acc", "val_accuracy", "val_acc", "eval_accuracy", "top1", "test_top1"),
    *("f1", "auc", "map", "map50", "iou", "miou", "dice", "psnr", "ssim", "bleu", "return", "reward"),
    *("loss", "test_loss", "val_loss", "eval_loss", "error", "test_error", "rmse", "mse", "mae", "perplexity", "wer"),
)
BASELINE = ("baseline", "default", "scratch", "untreated", "control", "vanilla", "base", "reference", "none")
"""Names of each column in lower case, in order of preference."""

_LOWER_IS_BETTER = re.compile(
    r"(?<![a-z])(loss|logloss|entropy|crossentropy|error|err|rmse|nrmse|rmsle|mse|nmse|mae|mape|smape|nll|perplexity|ppl"
    r"|wer|cer|eer|ece|fid|lpips|brier|bpb|bpc|regret|latency)(?![a-z])"
)
_SHARE = re.compile(r"(?<![a-z])(acc|accuracy|top1|top5|f1|auc|map|map50|iou|miou|dice|precision|recall)(?![a-z])")
_NEGATED = re.compile(r"(?<![a-z])(neg|negative)(?![a-z])")  # scikit-learn's neg_mean_squared_error is maximised
# Names of columns that never define a setting: identity and times of a run, further measurements.
_NO_SETTING = re.compile(
    r"(?<![a-z])(id|uuid|name|time|date|created|updated|duration|runtime|seconds|secs?|step|steps|epoch|repeat|fold|notes?"
    r"|user|host|hostname|state|status|acc|accuracy|loss|score|metric|path|dir|folder|file|url|commit|s|ms"
    r"|timestamp|worker|unnamed)(?![a-z])"
)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A kind of table.

    marks: columns that every such table has. state, finished: column of a run's state, and its values for success.
    settings, scores: prefixes of these columns; "" for none. own: columns that the program writes about a run and that
    are not settings. unnamed: whether settings cannot be distinguished from measurements. only: a column and the value
    that marks results. percent: columns of fractions to display in percent. directionless: whether it lacks the
    direction of the score.
    """

    name: str
    marks: Collection[str]
    state: str = ""
    finished: Collection[str] = ()
    settings: Sequence[str] = ("",)
    scores: Sequence[str] = ("",)
    own: Collection[str] = ()
    unnamed: bool = False
    only: tuple[str, str] = ("", "")
    percent: Collection[str] = ()
    directionless: bool = False


# Sources of these columns: W&B, tables in public repositories (the app has no reference of its export); MLflow,
# `search_runs` in mlflow/tracking/fluent.py for `mlflow experiments csv`, and
# mlflow/server/js/src/experiment-tracking/utils/CsvUtils.ts for the download of its page; Optuna,
# `Study.trials_dataframe`; kd-sweeps, `sweeps.report.folder:results_csv` and `sweeps.report.compare:long_csv`.
FORMS = (
    Form(
        name="kd-sweeps",
        marks=("dataset", "role", "arm", "repeat", "seed", "stage", "train_s", "cpu_s"),
        state="state",
        finished=("done", ""),
        own=("role", "group", "task", "repeat", "temperature", "alpha", "train_s", "cpu_s", "stage"),
        only=("stage", "transfer"),
        scores=("test_",),
        percent=("test_accuracy",),
    ),
    Form(
        name="MLflow (experiments csv)",
        marks=("run_id", "experiment_id", "status"),
        state="status",
        finished=("FINISHED",),
        settings=("params.",),
        scores=("metrics.",),
        own=("run_id", "experiment_id", "artifact_uri", "start_time", "end_time"),
    ),
    Form(
        name="MLflow (page)",
        marks=("Start Time", "Duration", "Run ID", "Name", "Status"),
        state="Status",
        finished=("FINISHED",),
        own=("Start Time", "Duration", "Run ID", "Name", "Source Type", "Source Name", "User"),
        unnamed=True,
    ),
    Form(
        name="W&B (runs table)",
        marks=("Name", "State"),
        state="State",
        finished=("finished",),
        own=(
            *("Name", "Agent", "State", "Notes", "User", "Tags", "Created", "Updated", "Runtime", "Sweep", "ID"),
            *("Job Type", "Host Name", "Command", "GPU Count", "GPU Type", "End Time", "Commit"),
        ),
        unnamed=True,
    ),
    Form(
        name="Optuna",
        marks=("number", "value", "state"),
        state="state",
        finished=("COMPLETE",),
        settings=("params_", "study"),
        scores=("value",),
        own=("number", "datetime_start", "datetime_complete", "duration"),
        directionless=True,
    ),
)
LONG = Form(name="CSV", marks=())


def form_of(header: Sequence[str]) -> Form:
    return next((form for form in FORMS if set(form.marks) <= set(header)), LONG)


def is_chart(header: Sequence[str]) -> bool:
    """Return whether this is a chart exported from W&B, with a row per step, instead of its runs table."""
    return any(name.endswith("__MIN") for name in header[1:])


def label(column: str) -> str:
    """Return a column's name after its last dot or slash: "T" for "params_model.T"."""
    return re.split(r"[./]", re.sub(r"^(params_|user_attrs_)", "", column))[-1].strip()


def plain_name(column: str) -> str:
    """Return a column's name in the form of the lists above."""
    return label(column).lower().replace(" ", "_")


def is_lower_better(column: str) -> bool:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower().replace("_", " ")  # valLoss
    return bool(_LOWER_IS_BETTER.search(name)) and not _NEGATED.search(name)


def is_share(column: str) -> bool:
    """Return whether a score is a fraction of 1, which some write in percent."""
    return bool(_SHARE.search(plain_name(column).replace("_", " ")))


def is_own(form: Form, column: str) -> bool:
    """Return whether a column is the program's own and has no part in the experiment."""
    return not column or column in form.own or column == form.state or column.startswith("tags.mlflow.")


def may_be_setting(form: Form, column: str) -> bool:
    """Return whether a user's column without another role may define a setting."""
    if any(form.settings):
        return column.startswith(tuple(form.settings))
    # By whole words: "step_size" is a setting although "step" is not.
    return not _NO_SETTING.search(plain_name(column).replace("_", " ")) or plain_name(column).endswith("_size")

"""The command judge: compare results of other programs over seeds."""

import math
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import Field, Form
from sweeps.cli.text import Format, render
from sweeps.errors import SpecError
from sweeps.extensions import require
from sweeps.terminal import WIDTH, columns, say

app = typer.Typer()


@app.command()
def judge(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="CSV file, - for stdin, or the URL of an Optuna storage.")
    ],
    study: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Optuna study, if SOURCE is a URL; repeatable.")
    ] = None,
    baseline: Annotated[str, typer.Option(metavar="SETTING", help="Setting to compare the others with.")] = "",
    score: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the scores.")] = "",
    setting: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column that defines a setting; repeatable.")
    ] = None,
    seed: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the seed.")] = "",
    dataset: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the dataset.")] = "",
    minimize: Annotated[
        bool | None,
        typer.Option("--minimize/--maximize", help="Lower or higher scores are better (default: by the column name)."),
    ] = None,
    margin: Annotated[
        str | None, typer.Option(metavar="X", help="Also test which settings lose less than this, in score units.")
    ] = None,
    unit: Annotated[str, typer.Option(metavar="percent", help="Show fractions as percentages.")] = "",
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Write a page with a figure into this folder.")
    ] = None,
    form: Form = Format.table,
    field: Field = None,
) -> None:
    """Judge results you already have.

    Tests over seeds which settings are better than a baseline. Reads a CSV file with a row for each run, tables
    exported from W&B, MLflow or Optuna, or Optuna studies. Runs with the same seed and dataset are compared in pairs.
    Exits with 0 if a setting is better, with 3 if no improvement was detected. With -f csv: a row for each setting;
    with -f value: only the setting to use.

    Examples: kd-sweeps judge runs.csv --baseline adam; kd-sweeps judge sqlite:///optuna.db --study a --study b
    """
    from sweeps.judge import answer
    from sweeps.judge.judging import judge as judged
    from sweeps.judge.reading import Question, read_runs
    from sweeps.judge.tables import read_csv, read_studies

    if unit not in ("", "percent"):
        raise SpecError(f"--unit: got {unit!r}; allowed: percent, for scores that are fractions")
    if output is not None and (form is not Format.table or field is not None):
        raise SpecError(f"--output writes every format; leave out {'--field' if field else '--format'}")
    if study and "://" not in source:
        raise SpecError(
            f"--study: got {source!r} as the source; studies need the URL of a storage, such as sqlite:///optuna.db"
        )
    question = Question(
        score=score,
        seed=seed,
        dataset=dataset,
        settings=tuple(setting or ()),
        baseline=baseline,
        minimize=minimize,
        margin=None if margin is None else _margin(margin),
        percent=unit == "percent",
    )
    if "://" in source:
        require("train", "judging Optuna studies")
        runs = read_runs(read_studies(source, study or []), question)
    else:
        with read_csv(source) as table:
            runs = read_runs(table, question)
    judgement = judged(runs, question)
    if form is Format.table and field is None:
        written = None if output is None else answer.write(judgement, Path(output))
        print("\n".join(answer.text(judgement, columns=min(columns() or WIDTH, WIDTH))))
        if written is not None:
            say(f"page     {written}")
    elif form is Format.csv and field is None:
        print(render(answer.rows(judgement), form))
    elif form is Format.value and field is None:
        print(judgement.advice.setting)  # what a script needs; --field gives anything else
    else:
        print(render(answer.values(judgement), form, field))
    raise typer.Exit(0 if judgement.is_improvement else 3)


def _margin(text: str) -> float:
    # Typer's float would not quote the input in its message.
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if not 0 < margin < math.inf:
        raise SpecError(
            f"--margin: got {text[:40]!r}; allowed: a number above 0 in the unit of the scores, such as 0.005"
        )
    return margin

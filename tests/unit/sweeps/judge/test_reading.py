"""Tables of every form become the same runs: columns are recognised or named, numbers are parsed in any spelling."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps.errors import SweepError
from sweeps.judge import words
from sweeps.judge.judging import Judgement, judge
from sweeps.judge.reading import Question, Runs, read_runs
from sweeps.judge.tables import read_csv
from tests.support.judged.tables import SCORES, long, mlflow, mlflow_page, table, wandb
from tests.support.paths import REPOSITORY

Read = Callable[..., Runs]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: str | bytes, **question: object) -> Runs:
        path = tmp_path / "runs.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with read_csv(str(path)) as rows:
            return read_runs(rows, Question(**question))  # type: ignore[arg-type]

    return read


def values(runs: Runs) -> dict[str, list[float]]:
    return {name: [*scores.values()] for name, scores in runs.scores.items()}


WANTED = {name: [*scores] for name, scores in SCORES.items()}
BY_ALPHA = {"1": WANTED["none"], "0.5": WANTED["kd"]}


def test_a_long_csv_needs_no_option(read: Read) -> None:
    runs = read(long())
    assert (runs.form, runs.score, runs.seed, runs.dataset, runs.columns) == (
        "CSV",
        "accuracy",
        "seed",
        "",
        ("setting",),
    )
    assert values(runs) == WANTED
    assert [*runs.scores["kd"]] == [("", str(seed)) for seed in range(4)]
    assert (runs.minimize, runs.percent, runs.rows) == (False, False, 8)


def test_only_finished_runs_of_a_wandb_table_count(read: Read) -> None:
    runs = read(wandb(), score="val/accuracy")
    assert (runs.form, runs.columns, runs.unfinished) == ("W&B (runs table)", ("method",), {"crashed": 1})
    assert values(runs) == WANTED


def test_a_column_can_be_named_by_the_part_after_its_slash_or_dot(read: Read) -> None:
    assert read(wandb(), score="accuracy").score == "val/accuracy"
    assert read(mlflow(), settings=("alpha",)).columns == ("params.alpha",)


def test_columns_that_mlflow_adds_are_not_settings(read: Read) -> None:
    runs = read(mlflow())
    assert (runs.form, runs.score, runs.seed) == ("MLflow (experiments csv)", "metrics.val_acc", "params.seed")
    assert (runs.columns, runs.unfinished) == (("params.alpha",), {"FAILED": 1})
    assert values(runs) == BY_ALPHA


def test_values_that_mlflows_page_escapes_as_formulas_are_read(read: Read) -> None:
    runs = read(mlflow_page(), score="drift", settings=("alpha",))
    assert values(runs) == {"1": [-0.0, -0.01, -0.04, -0.09], "0.5": [-0.01, -0.02, -0.05, -0.01]}
    assert values(read(mlflow_page(), score="val_acc", settings=("alpha", "lr"))) == BY_ALPHA


def test_results_csv_of_our_own_report_is_read(read: Read) -> None:
    runs = read((REPOSITORY / "bench/results/answers/quick/results.csv").read_bytes())
    assert (runs.form, runs.score, runs.columns, runs.percent) == ("kd-sweeps", "test_accuracy", ("arm",), True)
    counts = {"best": 27, "scratch": 6, "default-keras": 24, "default-keras-io": 24, "native": 24, "scratch-own": 24}
    assert {name: len(scores) for name, scores in runs.scores.items()} == counts
    assert {dataset for dataset, _ in runs.scores["best"]} == {"mnist", "cifar10"}


def test_the_csv_of_compare_is_read_with_the_sweep_as_part_of_a_setting(read: Read) -> None:
    header = "sweep,task,dataset,role,stage,arm,repeat,seed,temperature,alpha,val_accuracy,test_accuracy,train_s,cpu_s"
    rows = [
        (sweep, "t", "m", "source", stage, "best", seed, seed, 3, 0.5, 0.6, 0.7 + seed / 100, 1, 1)
        for sweep in ("plain", "wide")
        for stage in ("confirm", "transfer")
        for seed in range(3)
    ]
    runs = read(table(header.split(","), rows))
    assert (runs.form, runs.columns, runs.rows) == ("kd-sweeps", ("sweep",), 6)
    assert [*runs.scores] == ["plain", "wide"]


def test_an_exported_study_is_read_like_the_study(read: Read) -> None:
    header = ("number", "value", "datetime_start", "datetime_complete", "duration", "params_lr", "params_seed", "state")
    rows = [
        *((n, 0.7 + n / 100, "", "", "", 0.1 * (1 + n // 3), n % 3, "COMPLETE") for n in range(6)),
        (6, "", "", "", "", 0.1, 9, "FAIL"),
    ]
    runs = read(table(header, rows), minimize=True)
    assert (runs.form, runs.columns, runs.unfinished) == ("Optuna", ("params_lr",), {"FAIL": 1})
    assert {name: len(scores) for name, scores in runs.scores.items()} == {"0.1": 3, "0.2": 3}


def test_an_exported_study_needs_a_direction(read: Read) -> None:
    with pytest.raises(SweepError, match="add --minimize or --maximize"):
        read("number,value,params_lr,params_seed,state\n0,0.5,1,0,COMPLETE\n")


def test_a_column_without_a_name_is_the_index_of_a_data_frame(read: Read) -> None:
    rows = "".join(f"{place},{line}\n" for place, line in enumerate(long().splitlines()[1:]))
    assert values(read(f",setting,seed,accuracy\n{rows}")) == WANTED


def test_our_own_results_of_another_score_are_not_percentages(read: Read) -> None:
    header = ["task", "dataset", "role", "arm", "group", "repeat", "seed", "stage", "test_accuracy"]
    rows = [(number, "d", "source", "best", "", number, number, "transfer", -3.5) for number in range(3)]
    assert not read(table(header, rows)).percent


def test_settings_are_the_remaining_columns_that_distinguish_runs(read: Read) -> None:
    header = ("LR", "depth", "optimizer", "wd", "seed", "train_s", "accuracy")
    rows = [
        (lr, depth, "adam", lr * 2, seed, 10.0 + seed, 0.5 + lr)
        for lr, depth in ((0.1, 2), (0.1, 4), (0.2, 2))
        for seed in range(3)
    ]
    runs = read(table(header, rows))
    # The optimizer is constant, the weight decay follows from the learning rate, and seconds are not a setting.
    assert runs.columns == ("LR", "depth")
    assert [*runs.scores] == ["LR=0.1, depth=2", "LR=0.1, depth=4", "LR=0.2, depth=2"]
    assert read(table(header, rows), settings=("depth", "wd", "optimizer")).columns == ("depth", "wd")


def test_a_single_seed_is_read_if_every_run_is_a_setting(read: Read) -> None:
    rows = [(lr, 7, 0.5 + lr) for lr in (0.1, 0.2, 0.3)]
    assert [*read(table(("lr", "seed", "accuracy"), rows)).scores] == ["0.1", "0.2", "0.3"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_tabs_and_decimal_commas_are_read(read: Read, delimiter: str) -> None:
    rows = [("base", 0, "0,5"), ("base", "1", "0,75"), ("a, b", 0, "1")]
    assert values(read(table(("setting", "seed", "acc"), rows, delimiter=delimiter))) == {
        "base": [0.5, 0.75],
        "a, b": [1.0],
    }


def test_the_separator_line_of_excel_is_not_the_header(read: Read) -> None:
    assert values(read("sep=;\nsetting;seed;acc\nbase;0;0,5\n")) == {"base": [0.5]}


def test_a_comma_inside_a_number_of_a_comma_separated_file_is_refused(read: Read) -> None:
    with pytest.raises(Exception, match="got '1,234', not a number"):
        read('setting,seed,acc\nbase,0,"1,234"\n')


def test_different_spellings_of_a_number_are_equal(read: Read) -> None:
    runs = read("lr,seed,acc\n0.10,1.0,0.5\n.1,2,0.6\n1e-1,3,0.7\n 0.2 ,1,0.8\n")
    assert {name: [*scores] for name, scores in runs.scores.items()} == {
        "0.1": [("", "1"), ("", "2"), ("", "3")],
        "0.2": [("", "1")],
    }


def test_a_byte_order_mark_quoted_line_breaks_and_blank_lines_are_read(read: Read) -> None:
    content = b'\xef\xbb\xbfsetting,seed,acc\n\n"two\nlines",0,0.5\n"say ""b""",0,0.6\n'
    assert [*read(content).scores] == ["two lines", 'say "b"']


def test_repeated_rows_and_rows_without_a_score_are_counted(read: Read) -> None:
    runs = read("setting,seed,acc\nbase,0,0.5\nbase,0,0.5\nb,0,\nb,1,0.7\n")
    assert (runs.repeated, runs.unscored, values(runs)) == (1, 1, {"base": [0.5], "b": [0.7]})


@pytest.mark.parametrize(
    ("score", "lower"),
    [
        ("val_loss", True),
        ("test/rmse", True),
        ("error", True),
        ("accuracy", False),
        ("flossing", False),
        ("top1_err", True),
        ("valLoss", True),
        ("logloss", True),
        ("neg_mean_squared_error", False),
    ],
)
def test_the_direction_follows_from_the_name_of_the_score(read: Read, score: str, lower: bool) -> None:
    content = f"setting,seed,{score}\nbase,0,0.5\n"
    assert read(content, score=score).minimize is lower
    assert read(content, score=score, minimize=not lower).minimize is not lower


def outcome(path: Path, question: Question) -> Judgement | SweepError:
    try:
        with read_csv(str(path)) as lines:
            return judge(read_runs(lines, question), question)
    except SweepError as error:
        return error


CELL = st.one_of(
    st.sampled_from(["", "base", "baseline", "a", "b", "0", "1", "2", "0.5", "0,5", "nan", "1e400", "finished", "\n"]),
    st.text(max_size=4),
    st.floats(-1e12, 1e12).map(str),
)
COLUMN = st.sampled_from(["setting", "seed", "acc", "loss", "dataset", "Name", "State", "lr", "params.lr", "value", ""])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(COLUMN, min_size=1, max_size=5),
    rows=st.lists(st.lists(CELL, min_size=1, max_size=5), max_size=8),
    head=st.binary(max_size=3),
)
def test_any_file_is_judged_or_refused(tmp_path: Path, header: list[str], rows: list[list[str]], head: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(head + table(header, [row[: len(header)] for row in rows]).encode("utf-8", "surrogatepass"))
    answer = outcome(path, Question())
    if isinstance(answer, SweepError):
        assert str(answer)
    else:
        assert all([words.headline(answer), words.advice(answer), *words.sentences(answer), *words.rows(answer).rows])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(
            st.sampled_from(["baseline", "a", "b"]),
            st.sampled_from(["m", "n"]),
            st.integers(0, 4),
            st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.5, 0.6])),
        ),
        min_size=2,
        max_size=25,
        unique_by=lambda run: run[:3],
    ),
    minimize=st.booleans(),
    margin=st.sampled_from([None, 0.1]),
)
def test_runs_with_any_part_missing_are_judged_or_refused(
    tmp_path: Path, runs: list[tuple[str, str, int, float]], minimize: bool, margin: float | None
) -> None:
    path = tmp_path / "any.csv"
    path.write_text(table(("setting", "dataset", "seed", "acc"), runs), encoding="utf-8")
    answer = outcome(path, Question(minimize=minimize, margin=margin, baseline="baseline"))
    if isinstance(answer, SweepError):
        assert "baseline" in str(answer) or "one setting" in str(answer)
        return
    for setting in answer.others:
        item = setting.against
        assert not (item.better and item.worse)
        assert item.p is None or 0 <= item.p <= 1
    assert answer.is_improvement == (answer.advice.use == "use")
    assert words.advice(answer)
    assert [*words.page(answer)]

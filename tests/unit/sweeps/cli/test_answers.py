"""The text of `best`, `trials` and other tables: every line fits the terminal."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from kd.config import LOSS_FORMULA
from sweeps.cli.text import describe_best, describe_trials, table
from sweeps.distill.spec import formula
from sweeps.plan.selection import Candidate
from sweeps.query.best import Best, Incumbent
from sweeps.spec.model import SMOKE_TEST
from sweeps.stats.estimates import Estimate
from sweeps.trainers.protocol import Point
from tests.support.pages import DOCS
from tests.support.points import at

POINT = at(6.803452110290527, 0.7241379310344828)
ACCURACY = Estimate(0.974, 0.95, 1.02, 3)
BEST = Best(
    sweep="s",
    loss=LOSS_FORMULA,
    point=POINT,
    confirmed=True,
    accuracy=ACCURACY,
    candidates=(Candidate(rank=0, point=POINT, accuracy=ACCURACY),),
    incumbent=Incumbent(point=at(4.0, 0.3), score=0.981, task="search#4", trial_number=4),
    answer_hash="0123456789ab",
    paste={"kd": "distiller = ..."},
)


def test_best_prints_its_point_its_interval_and_why_the_dashboard_shows_another() -> None:
    assert describe_best(BEST).splitlines() == [
        "temperature  6.803",
        "alpha        0.7241",
        "loss         alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T)  (alpha weighs the labels)",
        "validation   97.40 % [95.00, 100.00] 95 % t interval, n=3 fresh seeds",
        "incumbent    search trial 4: T = 4, alpha = 0.3, 98.10 % (n=1)",
        "             optuna-dashboard shows this trial as best; its score is partly luck. The point above",
        "             has the highest mean when the first search's top trials are rerun with fresh seeds",
        "answer hash  0123456789ab",
        "as code      kd-sweeps best s --paste",
    ]


def test_a_boolean_is_no_number() -> None:
    assert "flag         False" in describe_best(replace(BEST, point=Point.of({"flag": False}))).splitlines()


def test_best_of_a_smoke_test_begins_with_a_warning() -> None:
    first, *others = describe_best(replace(BEST, smoke_test=True)).splitlines()
    assert first.strip() == SMOKE_TEST
    assert others == describe_best(BEST).splitlines()


def test_the_page_about_own_losses_shows_what_best_prints_for_one() -> None:
    loss = formula("/home/me/my_losses.py:loss")
    assert f"`{loss}`" in (DOCS / "how-to" / "own-loss.md").read_text(encoding="utf-8")
    assert loss in " ".join(describe_best(replace(BEST, loss=loss)).split())


def test_if_the_dashboard_shows_the_same_point_best_says_so() -> None:
    lines = describe_best(replace(BEST, incumbent=replace(BEST.incumbent, point=POINT))).splitlines()
    assert "             optuna-dashboard shows the same point as best" in lines


def test_two_seeds_have_no_interval_and_one_run_is_unconfirmed() -> None:
    two_seeds = describe_best(replace(BEST, accuracy=Estimate(0.974, 0.6, 1.3, 2)))
    assert "validation   97.40 %, n=2, no interval\n" in two_seeds
    single = replace(BEST.incumbent, point=at(12.345, 0.12345), trial_number=144)
    unconfirmed = replace(
        BEST,
        accuracy=Estimate(0.974, None, None, 1),
        confirmed=False,
        candidates=None,
        answer_hash=None,
        incumbent=single,
    )
    lines = describe_best(unconfirmed).splitlines()
    assert lines[3:5] == [
        "validation   97.40 %, n=1: UNCONFIRMED, the best single search trial 144: T = 12.35, alpha = 0.1235,",
        "             98.10 % (n=1)",
    ]
    assert not any(line.startswith("answer hash") for line in lines)


@pytest.mark.parametrize("shift", range(11))
def test_the_answer_is_wrapped_at_spaces_and_never_at_a_hyphen(shift: int) -> None:
    sentences = [f"TRANSFERS: less than 1 point lost{'.' * shift}", " ".join(["digits-rgb"] * 40)]
    lines = describe_best(replace(BEST, summary=tuple(sentences))).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("answer       TRANSFERS"))
    answer = [line[13:] for line in lines[start:] if not line.startswith(("answer hash", "as code"))]
    assert " ".join(answer) == " ".join(sentences)
    assert max(map(len, lines)) <= 100
    assert all(line.startswith(("answer ", " " * 13)) for line in lines[start : start + len(answer)])


def _row(task: str, state: str, reason: str | None = None) -> dict[str, object]:
    numbers = {"temperature": 12.345678, "alpha": 0.1234567, "score": 0.98765432, "test_accuracy": 0.98765432}
    return {
        "task": task,
        "state": state,
        "trial": 123,
        "dataset": "digits-rgb",
        **numbers,
        "train_s": 12.3456,
        "cpu_s": 12.3456,
        "reason": reason,
    }


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stdout a terminal of 80 columns."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_the_columns_of_trials_that_fit_and_grey_rows_for_unavailable_tasks() -> None:
    rows = [
        _row("transfer#target.default-keras-io.4", "done"),
        _row("baselines#mobilenet", "unavailable", "no weights; type: " + "export KERAS_HOME=DIR " * 9)
        | dict.fromkeys(("temperature", "alpha", "score", "test_accuracy")),
    ]
    rows += [_row("measure#all", "skipped", "needs teachers:source, which failed")]
    head, done, *unavailable, skipped = describe_trials(rows, scored="accuracy").splitlines()
    assert head.split() == ["task", "state", "T", "alpha", "score", "test"]
    assert done.split()[2:] == ["12.35", "0.1235", "0.9877", "0.9877"]
    assert skipped.split()[:2] == ["measure#all", "skipped"]
    assert all(line.startswith("\x1b[90m") and line.endswith("\x1b[0m") for line in unavailable)
    plain = [line.removeprefix("\x1b[90m").removesuffix("\x1b[0m") for line in unavailable]
    assert max(map(len, (head, done, skipped, *plain))) <= 80
    assert " ".join(" ".join(plain).split()) == f"baselines#mobilenet unavailable {rows[1]['reason']}".rstrip()


def test_a_pipe_gets_every_column_and_the_whole_reason() -> None:
    reason = "no weights; type: " + "export KERAS_HOME=DIR " * 9
    head, row = describe_trials([_row("baselines#mobilenet", "unavailable", reason)], scored="accuracy").splitlines()
    assert head.split()[-3:] == ["train_s", "cpu_s", "reason"]
    assert row.endswith(reason.rstrip())
    assert "\x1b" not in row


def test_with_many_searched_parameters_trials_fit_a_terminal_and_a_pipe_gets_every_column(
    request: pytest.FixtureRequest,
) -> None:
    parameters = {f"a_weight_with_a_long_name_{number}": 0.25 for number in range(5)}
    row = _row("search#3", "done")
    row = {key: row[key] for key in ("task", "state", "trial", "dataset", "temperature", "alpha")} | parameters | row
    head = describe_trials([row], scored="accuracy").splitlines()[0]
    assert set(parameters) <= set(head.split())
    request.getfixturevalue("terminal")
    head, line = describe_trials([row], scored="accuracy").splitlines()
    assert head.split()[:4] == ["task", "state", "T", "alpha"]
    assert head.split()[-2:] == ["score", "test"]
    assert 60 < max(len(head), len(line)) <= 80


LONG = "sweep-" * 12
REASON = "no space is left on the disk of this machine; then type: kd-sweeps launch s"
TABLE = [["name", "state", "reason"], [LONG, "stopped", REASON], ["ü 日本", "ended", ""]]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("colour", [True, False])
def test_a_table_too_wide_for_the_terminal_wraps_in_its_cells_and_loses_nothing(
    colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    text = table(TABLE, grey_rows=[1])
    assert ("\x1b[90m" in text) == colour
    lines = [line.rstrip() for line in re.sub(r"\x1b\[\d+m", "", text).splitlines()]
    assert max(map(cell_len, lines)) <= 80
    starts = [lines[0].index(name) for name in TABLE[0]]
    ends = [*starts[1:], None]
    cells = [[line[start:end].strip() for line in lines[1:-1]] for start, end in zip(starts, ends, strict=True)]
    assert "".join(cells[0]) == LONG
    assert " ".join(cells[2]).split() == REASON.split()
    assert any("kd-sweeps launch s" in cell for cell in cells[2]), "a command is not broken"
    assert lines[-1].split() == ["ü", "日本", "ended"]


def test_control_characters_are_escaped_in_a_narrow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = table([["worker", "reason"], ["vm-0", "\x1b[31mred \x07bell " + 12 * "word "]]).splitlines()
    assert max(map(len, lines)) <= 60
    assert ("\\u001b[31mred" in lines[1], "\\u0007bell" in lines[1]) == (True, True)


def test_a_pipe_gets_each_row_of_a_table_as_one_line_without_colour() -> None:
    lines = table(TABLE, grey_rows=[1]).splitlines()
    assert [line.split("  ")[0] for line in lines] == [row[0] for row in (["name"], TABLE[1], TABLE[2])]
    assert "\x1b" not in "".join(lines)
    assert lines[1] == f"{LONG}  stopped  {REASON}"


@pytest.mark.usefixtures("terminal")
def test_best_fits_a_terminal() -> None:
    assert max(map(len, describe_best(replace(BEST, summary=("a word " * 40,))).splitlines())) <= 80


def test_values_are_aligned_in_one_column_with_a_long_searched_name() -> None:
    point = Point.of({"temperature": 4.0, "alpha": 0.3, "batch_size": 64, "a_weight_with_a_long_name": 1.5})
    lines = describe_best(replace(BEST, point=point, summary=("a word " * 40,))).splitlines()
    start = len("a_weight_with_a_long_name ")
    assert {line[:start].strip() for line in lines} == {
        *("temperature", "alpha", "batch_size", "a_weight_with_a_long_name", "loss", "validation", "incumbent"),
        *("", "answer", "answer hash", "as code"),
    }
    assert all(line[start] != " " for line in lines)
    assert max(map(len, lines)) <= 100

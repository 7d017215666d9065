"""Files that are not runs: each gives a one-line error with the value and the allowed values, and no result."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.judge import tables
from tests.support.judged.tables import long

KdSweeps = Callable[..., tuple[int, str, str]]

HEAD = "setting,seed,acc\n"
BAD: dict[str, tuple[bytes, int, list[str]]] = {
    "empty": (b"", 1, ["is empty", "a header and one row for each run"]),
    "blank lines": (b"\n\n", 1, ["is empty"]),
    "header only": (HEAD.encode(), 1, ["a header and no rows"]),
    "no seed": (b"setting,acc\na,1\nb,2\n", 2, ["no column seed", "--seed", "columns: setting, acc"]),
    "no setting": (b"seed,acc\n0,1\n1,2\n", 2, ["no column names a setting", "--setting"]),
    "no score": (b"setting,seed,weight,height\na,0,1,2\n", 2, ["--score, of weight, height"]),
    "two scores": (b"setting,seed,acc,loss\na,0,1,2\n", 2, ["2 columns of scores", "--score, of acc, loss"]),
    "two alike": (b"setting,seed,acc,acc\na,0,1,2\n", 2, ["2 columns", "'acc'", "--score"]),
    "text": (b"setting,seed,acc\nbase,0,0.5\nb,0,good\n", 1, ["line 3, column acc: got 'good', not a number"]),
    "a quoted decimal comma": (b'setting,seed,acc\nbase,0,"0,91"\n', 1, ["got '0,91', not a number; write it as 0.93"]),
    "percent sign": (b"setting,seed,acc\nbase,0,93.5%\n", 1, ["line 2, column acc: got '93.5%'"]),
    "nan": (b"setting,seed,acc\nbase,0,NaN\n", 1, ["line 2, column acc: got 'NaN'", "diverged"]),
    "infinite": (b"setting,seed,acc\nbase,0,-inf\n", 1, ["column acc: got '-inf'"]),
    "too large": (b"setting,seed,acc\nbase,0,-1e308\n", 1, ["column acc: got '-1e308'", "-1e+100 to 1e+100"]),
    "no score at all": (b"setting,seed,acc\nbase,0,\nb,0,\n", 1, ["the column acc is empty in every run", "--score"]),
    "no seed in a row": (b"setting,seed,acc\nbase,,1\n", 1, ["line 2, column seed: empty"]),
    "no setting in a row": (b"setting,seed,acc\n,0,1\n", 1, ["line 2, column setting: empty"]),
    "one setting": (b"setting,seed,acc\nb,0,1\nb,1,1\n", 1, ["one setting, b", "its columns are setting", "--setting"]),
    "a thousand settings": (
        (HEAD + "".join(f"s{number},{seed},0.5\n" for number in range(1001) for seed in (0, 1))).encode(),
        1,
        ["1,001 settings; allowed: at most 1,000"],
    ),
    "no baseline": (b"setting,seed,acc\nx,0,1\ny,0,1\n", 2, ["which setting is the baseline?", "--baseline, of x, y"]),
    "no dataset in common": (
        b"setting,data,seed,acc\nbase,m,0,1\nb,n,0,1\n",
        1,
        ["no setting has a dataset in common"],
    ),
    "twice": (
        b"setting,seed,acc\nbase,0,1\nb,0,1\nbase,0,2\n",
        1,
        ["line 4", "seed 0 is there twice, 1 in line 2 and 2"],
    ),
    "fractions and percentages": (
        b"setting,seed,val_acc\nbase,0,0.91\nbase,1,0.92\nb,0,93.1\nb,1,93.2\n",
        1,
        ["column val_acc: base has fractions, such as 0.91, and b percentages, such as 93.1", "in one unit"],
    ),
    "another delimiter": (b"setting|seed|acc\nbase|0|1\n", 1, ["one column, 'setting|seed|acc'", "semicolons or tabs"]),
    "decimal commas": (b"setting,seed,acc\nbase,0,0,91\n", 1, ["line 2: 4 cells", "write 0.93 for 0,93"]),
    "short row": (b"setting,seed,acc\nbase,0\n", 1, ["line 2: 2 cells, but the header has 3"]),
    "every run its own": (
        b"kind,lr,seed,acc\na,1,0,1\na,2,1,1\nb,3,2,1\nb,4,3,1\n",
        2,
        ["every run is its own setting", "--setting", "columns: kind"],
    ),
    "open quote": (b'setting,seed,acc\nbase,0,1\n"b,0,1\n', 1, ["line 3: not CSV", "a quote is not closed"]),
    "latin": (b"setting,seed,acc\nb\xe9,0,1\n", 1, ["is not UTF-8", "0xe9", "iconv -f LATIN1 -t UTF-8"]),
    "utf-16": (HEAD.encode("utf-16"), 1, ["is UTF-16", "iconv"]),
    "excel": (b"PK\x03\x04rest", 1, ["Excel", "CSV UTF-8"]),
    "old excel": (b"\xd0\xcf\x11\xe0rest", 1, ["old Excel file"]),
    "gzip": (b"\x1f\x8brest", 1, ["compressed", "gunzip -k runs.csv"]),
    "sqlite": (b"SQLite format 3\x00rest", 1, ["SQLite database", "sqlite:///runs.csv --study NAME"]),
    "parquet": (b"PAR1rest", 1, ["Parquet", "to_csv"]),
    "binary": (b"\x00\x01\x02", 1, ["is binary"]),
    "chart of W&B": (b'"Step","a - acc","a - acc__MIN"\n"1","1","1"\n', 1, ["a chart of W&B", "export its runs table"]),
    "nothing has ended": (
        b"Name,State,seed,method,acc\nx,running,0,a,1\ny,crashed,0,b,1\n",
        1,
        ["no run has ended (1 running, 1 crashed)", "finished"],
    ),
    "a program's table": (
        b"Name,State,seed,lr,acc\nx,finished,0,a,1\n",
        2,
        ["does not say which columns are settings", "lr"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_file_gives_a_one_line_error_and_no_result(case: str, kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    content, code, words = BAD[case]
    Path("runs.csv").write_bytes(content)
    exit_code, out, err = kd_sweeps("judge", "runs.csv")
    assert (exit_code, out) == (code, ""), err
    assert err.startswith("kd-sweeps: ")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err, err


OPTIONS = [
    (["none.csv"], 1, ["none.csv: no such file"]),
    (["."], 1, [". is a folder"]),
    ([""], 1, ["'': no such file"]),
    (["runs.csv", "--seed", "accuracy"], 2, ["no column is recognised as a score"]),
    (["runs.csv", "--seed", "setting", "--dataset", "setting"], 2, ["--seed and --dataset: both got 'setting'"]),
    (["runs.csv", "--score", "seed", "--setting", "seed"], 2, ["--setting and --score: both got 'seed'"]),
    (["runs.csv", "--score", "nope"], 2, ["--score", "no column 'nope'", "columns: setting, seed, accuracy"]),
    (["runs.csv", "--score", "acuracy"], 2, ["did you mean accuracy?"]),
    (["runs.csv", "--baseline", "nope"], 2, ["--baseline: got 'nope'", "settings: none, kd"]),
    (["runs.csv", "--margin", "0"], 2, ["--margin: got '0'", "above 0"]),
    (["runs.csv", "--margin", "little"], 2, ["--margin: got 'little'"]),
    (["runs.csv", "--unit", "points"], 2, ["--unit: got 'points'", "allowed: percent"]),
    (["percent.csv", "--unit", "percent"], 2, ["--unit percent: got a score of 70.1", "fractions from 0 to 1"]),
    (["runs.csv", "--study", "a"], 2, ["--study: got 'runs.csv' as the source"]),
    (["runs.csv", "-o", "x", "-f", "json"], 2, ["--output writes every format", "--format"]),
    (["runs.csv", "-f", "value", "--field", "nope"], 2, ["no field 'nope'", "headline"]),
    (["mysql://a/b"], 2, ["the URL is 'mysql://a/b'", "sqlite:///FILE.db"]),
    (["sqlite:///none.db"], 1, ["sqlite:///none.db: no such file"]),
]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    OPTIONS,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_wrong_option_gives_a_one_line_error(
    arguments: list[str], code: int, words: list[str], kd_sweeps: KdSweeps
) -> None:
    Path("runs.csv").write_text(long(), encoding="utf-8")
    Path("percent.csv").write_text(long({"none": [70.1, 70.2], "kd": [71.0, 72.0]}), encoding="utf-8")
    exit_code, out, err = kd_sweeps("judge", *arguments)
    assert (exit_code, out) == (code, ""), err
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err, err


def test_a_log_of_steps_is_refused_before_it_is_read_completely(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 1000)
    Path("steps.csv").write_text(HEAD + "".join(f"a,{row},0.5\n" for row in range(1000)) + "a,1001,0.5\na,b\n")
    code, _, err = kd_sweeps("judge", "steps.csv")
    assert code == 1
    assert "steps.csv has more than 1,000 rows; give one row for each run" in err
    monkeypatch.setattr(tables, "MOST_CELLS", 30)
    assert "more than 10 rows" in kd_sweeps("judge", "steps.csv")[2], (
        "the limit of cells allows fewer rows with many columns"
    )


def test_a_file_that_cannot_be_opened_gives_the_error_of_the_system(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("judge", "x" * 300)
    assert (code, "cannot be read: File name too long" in err) == (1, True)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_file_that_cannot_be_read_gives_the_error_of_the_system(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("judge", "/proc/self/mem")
    assert (code, "/proc/self/mem cannot be read: Input/output error; give a CSV file" in err) == (1, True)


@pytest.mark.parametrize("scores", ["1.0,1.0,75,76", "0.98,1.02,75,76", "0.1,0.2,75,76", "0.5,0.6,0.7,0.8"])
def test_scores_near_chance_in_percent_are_no_fractions(scores: str, kd_sweeps: KdSweeps) -> None:
    first, second, third, fourth = scores.split(",")
    Path("runs.csv").write_text(f"{HEAD}base,0,{first}\nbase,1,{second}\nb,0,{third}\nb,1,{fourth}\n", encoding="utf-8")
    assert kd_sweeps("judge", "runs.csv")[0] == 3

"""The command line: every bad input is one clear line, and leaves nothing behind."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.sweeps.typed_commands import files, write_npz

KdSweeps = Callable[..., tuple[int, str, str]]


BAD = [
    # arguments, exit code, words that the one line must hold
    (["status", "none"], 1, ["no storage at sqlite:///kd-sweeps.db", "kd-sweeps create NAME"]),
    (["best", "none"], 1, ["no storage at"]),
    (["report", "none"], 1, ["no storage at"]),
    (["trials", "none"], 1, ["no storage at"]),
    (["list"], 1, ["no storage at"]),
    (["worker", "none"], 1, ["no storage at"]),
    (["launch", "none"], 1, ["no storage at"]),
    (["status", "a.b"], 2, ["'a.b'", "letters, digits"]),
    (["status", "a/b"], 2, ["'a/b'", "letters, digits"]),
    (["create", "x" * 100], 2, ["100 characters", "1 to 64"]),
    (["create", "s", "--preset", "quik"], 2, ["quik", "tiny, quick, compare, full", "did you mean quick?"]),
    (["create", "s", "--source", "mnits"], 1, ["mnits", "mnist"]),
    (["create", "s", "--source", "none.npz"], 1, ["none.npz"]),
    (["create", "s", "--source", "cifar10"], 2, ["must differ"]),
    (["create", "s", "--target", "mnist"], 2, ["must differ"]),
    (["create", "s", "--target", "digits", "--target", "digits"], 2, ["must differ"]),
    (["create", "s", *["--target", "digits"] * 4], 2, ["--target", "got 4", "at most 3"]),
    (["create", "s", "--target", "digits", "--target", "mnits"], 1, ["mnits", "mnist"]),
    (["create", "s", "--trials", "0"], 2, ["search.trials", "got 0"]),
    (["create", "s", "--trials", "-3"], 2, ["search.trials", "got -3"]),
    (["create", "s", "--trials", "many"], 2, ["search.trials", "many", "integer"]),
    (["create", "s", "--set", "search.temperature=[20, 1]"], 2, ["search.temperature", "[20, 1]"]),
    (["create", "s", "--set", "search.temperature=[-1, 1]"], 2, ["search.temperature", "[-1, 1]"]),
    (["create", "s", "--set", "search.temperature=[nan, 1]"], 2, ["search.temperature", "NaN"]),
    (["create", "s", "--set", "search.alpha=[0, 2]"], 2, ["search.alpha", "[0, 2]"]),
    (["create", "s", "--set", "search.trails=3"], 2, ["unknown key 'search.trails'", "trials"]),
    (["create", "s", "--set", "search.trials"], 2, ["KEY=VALUE"]),
    (["create", "s", "--set", "source.teacher=cnn-smal"], 2, ["source.teacher", "cnn-smal", "did you mean cnn-small?"]),
    (["create", "s", "--set", "target.student=nowhere.at.all:build"], 2, ["target.student", "nowhere.at.all"]),
    (["create", "s", "--set", "source.images=50001"], 2, ["source.images", "50001", "50000"]),
    (["create", "s", "--teacher", "pretrained:MobileNetV9"], 2, ["source.teacher", "MobileNetV9", "'mobilenetv2'"]),
    (["create", "s", "--teacher", "baseline:mobilenet"], 2, ["source.teacher", "baseline:mobilenet", "autokeras"]),
    (["create", "s", "--set", 'baselines.methods=["vgg61"]'], 2, ["baselines.methods", "vgg61", "did you mean vgg16?"]),
    (["create", "s", "--set", 'baselines.autokeras_blocks=["dense"]'], 2, ["autokeras_blocks", "dense", "xception"]),
    (["create", "s", "--set", "baselines.seconds=0"], 2, ["baselines.seconds", "got 0"]),
    (["create", "s", "--trials", "1000000000", "--dry-run"], 2, ["search.trials", "1000000000", "100000"]),
    (["create", "s", "--trials", "9" * 5000], 2, ["search.trials", "9...", "integer"]),
    (["create", "s", "--trials", "90000", "--dry-run"], 2, ["the plan has", "tasks; allowed: 100,000"]),
    (["create", "s", "--set", 'transfer.target_arms=["best","best"]', "--dry-run"], 2, ["best is there 2 times"]),
    (["create", "s", "--set", "seed=1\nvalue2=3"], 2, ["--set", "'seed=1\\nvalue2=3'", "line break"]),
    (["create", "s", "--set", "limits.search=true"], 2, ["limits.search", "true", "number"]),
    (["create", "s", "--set", 'limits.search="10"'], 2, ["limits.search", "10", "number"]),
    (["create", "s", "--set", "limits.search=-1"], 2, ["limits.search", "-1"]),
    (["create", "--", "-rf"], 2, ["'-rf'", "the first one not '-'"]),
    (["extend", "s", "--seeds", "+99999999999999"], 2, ["--seeds", "'+99999999999999'", "from 0 to 100000"]),
    (["extend", "s", "--trials", "9" * 5000], 2, ["--trials", "999...", "from 0 to 100000"]),
    (["launch", "s", "--workers", "0"], 2, ["--workers", "got '0'", "from 1 to 1000"]),
    (["launch", "s", "--workers", "1000000"], 2, ["--workers", "got '1000000'", "from 1 to 1000"]),
    (["launch", "s", "--workers", "two"], 2, ["--workers", "got 'two'"]),
    (["dashboard", "s", "--port", "65536"], 2, ["--port", "got '65536'", "from 0 to 65535"]),
    (["replay", "s", "--sample", "0"], 2, ["--sample", "got '0'"]),
    (["launch", "s", "--weights", "nowhere"], 2, ["--weights", "nowhere", "folder"]),
    (["create", "s", "none.toml"], 2, ["none.toml", "kd-sweeps spec quick >"]),
    (["create", "s", "none.toml", "--preset", "tiny"], 2, ["give one of them"]),
    (["spec", "huge"], 2, ["huge", "tiny, quick, compare, full"]),
    (["status", "s", "--storage", "not a url"], 2, ["not a url", "sqlite:///"]),
    (["status", "s", "--storage", "mysql://u:secret@h/db"], 2, ["mysql", "sqlite:///", "postgresql://"]),
    (["status", "s", "--storage", "postgresql://u:secret@127.0.0.1:1/db"], 1, ["127.0.0.1:1", "refused"]),
    (["create", "s", "--preset", "tiny", "--storage", "postgresql://u:secret@127.0.0.1:1/db"], 1, ["refused"]),
    (["create", "s", "--preset", "tiny", "--storage", "sqlite:///no/such/dir/a.db"], 1, ["no/such/dir", "mkdir"]),
    (["status", "s", "-f", "xml"], 2, ["xml", "table", "json"]),
    (["report", "s", "-f", "xml"], 2, ["xml", "brief, markdown, json"]),
    (["report", "s", "-o", "x", "-f", "json"], 2, ["--output", "leave out --format json"]),
    (["report", "s", "-o", ""], 2, ["--output", "got ''", "-o s-report"]),
    (["delete", "nope"], 1, ["no storage at"]),
    (["best", "s", "--paste", "-f", "json"], 2, ["--paste", "kd-sweeps best s -f json --field paste"]),
    (["fly"], 2, ["fly"]),
    (["status"], 2, ["NAME"]),
    (["data", "fetch", "mnits"], 1, ["mnits", "mnist"]),
    (["data", "fetch", "digits"], 1, ["no download"]),
    (["data", "list", "--data", "nowhere"], 1, ["nowhere"]),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(case[0])[:60] for case in BAD])
def test_bad_input_is_one_line_and_leaves_no_file(
    kd_sweeps: KdSweeps, tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    got, out, err = kd_sweeps(*arguments)
    line = err.splitlines()[-1]
    assert (got, out) == (code, "")
    assert line.startswith("kd-sweeps: ")
    for word in words:
        assert word in line
    assert "secret" not in err
    assert len([text for text in err.splitlines() if not text.startswith("storage ")]) == 1
    assert files(tmp_path) == set()


def test_an_unknown_sweep_says_which_exist(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("create", "one", "--preset", "tiny")[0] == 0
    for command in ("status", "best", "report", "trials", "worker", "launch", "dashboard", "delete"):
        code, out, err = kd_sweeps(command, "two")
        assert (code, out) == (1, "")
        assert "no sweep 'two'" in err.splitlines()[-1]
        assert "sweeps there: one" in err.splitlines()[-1]


def test_before_anything_is_finished_best_and_report_say_what_is_missing(kd_sweeps: KdSweeps) -> None:
    kd_sweeps("create", "s", "--preset", "tiny")
    for command, word in (("best", "no search trial of s has finished"), ("report", "nothing of s has finished")):
        code, out, err = kd_sweeps(command, "s")
        assert (code, out) == (3, "")
        assert word in err
        assert "kd-sweeps launch s" in err


def test_a_file_that_is_not_sqlite_is_refused_and_unchanged(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are my notes, do not touch")
    for command in (["status", "s"], ["create", "s", "--preset", "tiny"], ["worker", "s"]):
        code, _, err = kd_sweeps(*command, "--storage", "sqlite:///notes.db")
        assert code == 1
        assert "not a readable SQLite database" in err.splitlines()[-1]
    assert (tmp_path / "notes.db").read_text() == "these are my notes, do not touch"


def test_somebody_elses_sqlite_database_is_not_a_storage_for_reading(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE recipes (id)")
    connection.commit()
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    code, _, err = kd_sweeps("status", "s", "--storage", "sqlite:///other.db")
    assert code == 1
    assert "holds no kd-sweeps tables" in err
    assert (tmp_path / "other.db").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, ["y_test"]),
        ({"y_train": np.arange(200) % 10 - 1}, ["-1"]),
        ({"x_train": np.zeros((200, 28, 28), np.float64)}, ["float64", "uint8"]),
        ({"y_train": np.arange(199) % 10}, ["199", "200"]),
    ],
)
def test_a_wrong_npz_is_refused_before_anything_is_written(
    kd_sweeps: KdSweeps, tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    write_npz(tmp_path / "mine.npz", **changes)
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--source", "mine.npz")
    assert code == 1
    assert len(err.splitlines()) == 1
    for word in ["mine.npz", *words]:
        assert word in err
    assert files(tmp_path) == {"mine.npz"}


def test_a_corrupt_npz_is_refused(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    path.write_bytes(path.read_bytes()[:5000])
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--source", "mine.npz")
    assert code == 1
    assert "mine.npz" in err
    assert files(tmp_path) == {"mine.npz"}


def test_any_npz_can_be_a_source_and_its_content_is_frozen(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    sized = ["--set", "source.images=180"]
    assert kd_sweeps("create", "s", "--preset", "tiny", "--source", "mine.npz", *sized)[0] == 0
    write_npz(path, y_test=np.zeros(50, np.int64))
    code, _, err = kd_sweeps("worker", "s")
    assert code == 1
    assert "the sweep was created with" in err.splitlines()[-1]
    path.unlink()
    code, _, err = kd_sweeps("worker", "s")
    assert code == 1
    assert "mine.npz" in err.splitlines()[-1]
    status = json.loads(kd_sweeps("status", "s", "-f", "json")[1])
    assert sum(counts["waiting"] for counts in status["stages"].values()) == 77 + 1, "nothing was claimed"


def test_the_formats_agree(kd_sweeps: KdSweeps) -> None:
    import csv
    import io

    import yaml

    kd_sweeps("create", "s", "--preset", "tiny")
    rows = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    assert yaml.safe_load(kd_sweeps("trials", "s", "-f", "yaml")[1]) == rows
    table = list(csv.DictReader(io.StringIO(kd_sweeps("trials", "s", "-f", "csv")[1])))
    assert [row["task"] for row in table] == [row["task"] for row in rows]
    assert kd_sweeps("trials", "s", "-f", "value", "--field", "task")[1].split() == [row["task"] for row in rows]
    code, _, err = kd_sweeps("trials", "s", "--field", "nothing")
    assert code == 2
    assert "no field 'nothing'; fields: task, stage" in err


def test_no_command_at_all_prints_the_help(kd_sweeps: KdSweeps) -> None:
    _, out, err = kd_sweeps()
    assert "Usage: kd-sweeps" in out + err
    for command in ("create", "launch", "worker", "status", "best", "trials", "report", "dashboard", "data", "doctor"):
        assert command in out + err


def test_doctor_names_every_part_and_where_the_data_would_come_from(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    code, out, _ = kd_sweeps("doctor")
    assert code == 0
    for word in ("python", "tensorflow", "tensorboard", "storage", "mnist", "cifar10", "digits-rgb", "weights"):
        assert word in out
    assert files(tmp_path) == set()

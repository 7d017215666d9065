"""The command line: bad input gives a one-line error, `create` obeys its options, answers name the next command."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from storage.url import resolve
from sweeps.cli.app import next_commands
from tests.support.sweeps.archived_sweeps import lived
from tests.support.sweeps.typed_commands import files, write_npz

pytestmark = pytest.mark.usefixtures("in_memory")

KdSweeps = Callable[..., tuple[int, str, str]]


BAD = [
    # arguments, exit code, words of the error
    (["status", "none"], 1, ["no storage at sqlite:///kd-sweeps.db", "kd-sweeps create NAME"]),
    (["list"], 1, ["no storage at"]),
    (["worker", "none"], 1, ["no storage at"]),
    (["launch", "none"], 1, ["no storage at"]),
    (["pause", "a/b"], 2, ["'a/b'"]),
    (["status", "a.b"], 2, ["'a.b'", "letters, digits"]),
    (["create", "x" * 100], 2, ["100 characters", "1 to 64"]),
    (["create", "s", "--preset", "quik"], 2, ["quik", "tiny, quick, compare, full", "did you mean quick?"]),
    (["create", "s", "--source", "mnits"], 1, ["mnits", "mnist"]),
    (["create", "s", "--source", "none.npz"], 1, ["none.npz"]),
    (["create", "s", "--source", "cifar10"], 2, ["must differ"]),
    (["create", "s", *["--target", "digits"] * 4], 2, ["--target", "got 4", "at most 3"]),
    (["create", "s", "--trials", "many"], 2, ["--trials", "'many'", "from 1 to 100000"]),
    (["create", "s", "--trials", "0"], 2, ["--trials", "'0'", "from 1 to 100000"]),
    (["create", "s", "--seed", "-1"], 2, ["--seed", "'-1'", "from 0 to"]),
    (["create", "s", "--epochs", "0"], 2, ["--epochs", "'0'", "from 1 to 100000"]),
    (["create", "s", "--size", "32"], 2, ["--size", "'32'", "--size 32x32"]),
    (["create", "s", "--size", "32x32"], 2, ["--size", "32x32", "only a folder of images"]),
    (["create", "s", "--set", "search.trails=3"], 2, ["unknown key 'search.trails'", "trials"]),
    (["create", "s", "--set", "search.trials"], 2, ["KEY=VALUE"]),
    (["create", "s", "--set", "source.teacher=cnn-smal"], 2, ["source.teacher", "cnn-smal", "did you mean cnn-small?"]),
    (["create", "s", "--set", "target.student=nowhere.at.all:build"], 2, ["target.student", "nowhere.at.all"]),
    (["create", "s", "--set", "source.images=50001"], 2, ["source.images", "50001", "50000"]),
    (["create", "s", "--teacher", "pretrained:MobileNetV9"], 2, ["source.teacher", "MobileNetV9", "'mobilenetv2'"]),
    (["create", "s", "--set", 'baselines.methods=["resnet"]'], 2, ["baselines.methods", "resnet", "autokeras, mob"]),
    (["create", "s", "--teacher", "baseline:mobilenet"], 2, ["source.teacher", "baseline:mobilenet", "autokeras"]),
    (["create", "s", "--trials", "9" * 5000], 2, ["--trials", "999...", "from 1 to 100000"]),
    (["create", "s", "--set", "seed=1\nvalue2=3"], 2, ["--set", "'seed=1\\nvalue2=3'", "line break"]),
    (["create", "s", "--set", "limits.search=true"], 2, ["limits.search", "true", "number"]),
    (["create", "--", "-rf"], 2, ["'-rf'", "the first one not '-'"]),
    (["extend", "s", "--seeds", "+99999999999999"], 2, ["--seeds", "'+99999999999999'", "from 0 to 100000"]),
    (["extend", "s", "--seeds", "-1"], 2, ["--seeds", "-1"]),
    (["extend", "s", "--searches", "x"], 2, ["--searches", "'x'", "whole number"]),
    (["extend", "s", "--trials", "9" * 5000], 2, ["--trials", "999...", "from 0 to 100000"]),
    (["launch", "s", "--gpus", "0,0"], 2, ["--gpus", "got '0,0'", "--gpus 0,1"]),
    (["launch", "s", "--workers", "0"], 2, ["--workers", "got '0'", "from 1 to 1000"]),
    (["launch", "s", "--workers", "1000000"], 2, ["--workers", "got '1000000'", "from 1 to 1000"]),
    (["launch", "s", "--workers", "two"], 2, ["--workers", "got 'two'"]),
    (["dashboard", "s", "--port", "65536"], 2, ["--port", "got '65536'", "from 0 to 65535"]),
    (["replay", "s", "--sample", "0"], 2, ["--sample", "got '0'"]),
    (["launch", "s", "--weights", "nowhere"], 2, ["--weights", "nowhere", "folder"]),
    (["create", "s", "none.toml"], 2, ["none.toml", "kd-sweeps spec quick >"]),
    (["create", "s", "no [1].toml"], 2, ["no [1].toml", "kd-sweeps spec quick > 'no [1].toml'"]),
    (["create", "s", "--train", "./my [1].py:f"], 2, ["kd-sweeps spec --train './my [1].py:f' > my.toml"]),
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
    (["best", "s", "--paste", "--field", "alpha"], 2, ["--paste", "kd-sweeps best s -f json --field paste"]),
    (["fly"], 2, ["fly"]),
    (["status"], 2, ["NAME"]),
    (["data", "fetch", "mnits"], 1, ["mnits", "mnist"]),
    (["data", "fetch", "digits"], 1, ["no download"]),
    (["data", "list", "--data", "nowhere"], 1, ["nowhere"]),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD, ids=[" ".join(case[0])[:60] for case in BAD])
def test_bad_input_gives_a_one_line_error_and_leaves_no_file(
    kd_sweeps: KdSweeps, tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    exit_code, out, err = kd_sweeps(*arguments)
    line = err.splitlines()[-1]
    assert (exit_code, out) == (code, "")
    assert line.startswith("kd-sweeps: ")
    for word in words:
        assert word in line
    assert "secret" not in err
    assert len([text for text in err.splitlines() if not text.startswith("storage ")]) == 1
    assert files(tmp_path) == set()


def test_the_error_for_an_unknown_sweep_lists_the_existing_ones(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("create", "one", "--preset", "tiny")[0] == 0
    reading = ("status", "best", "report", "trials", "worker", "launch", "dashboard")
    steering = ("pause", "resume", "cancel", "retry", "reap", "delete", "extend --seeds 1", "delete --yes")
    for command in (*reading, *steering):
        code, out, err = kd_sweeps(*command.split(), "two")
        assert (code, out) == (1, "")
        assert "no sweep 'two'" in err.splitlines()[-1]
        assert "sweeps there: one" in err.splitlines()[-1]


def test_before_any_result_best_and_report_name_what_is_missing(kd_sweeps: KdSweeps) -> None:
    kd_sweeps("create", "s", "--preset", "tiny")
    for command, word in (("best", "no search trial of s has finished"), ("report", "nothing of s has finished")):
        code, out, err = kd_sweeps(command, "s")
        assert (code, out) == (3, "")
        assert word in err
        assert "kd-sweeps launch s" in err


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
    assert sum(counts["waiting"] for counts in status["stages"].values()) == 61 + 2, "nothing was claimed"


def test_all_formats_have_the_same_rows(kd_sweeps: KdSweeps) -> None:
    kd_sweeps("create", "s", "--preset", "tiny")
    rows = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    assert yaml.safe_load(kd_sweeps("trials", "s", "-f", "yaml")[1]) == rows
    table = list(csv.DictReader(io.StringIO(kd_sweeps("trials", "s", "-f", "csv")[1])))
    assert [row["task"] for row in table] == [row["task"] for row in rows]
    assert kd_sweeps("trials", "s", "-f", "value", "--field", "task")[1].split() == [row["task"] for row in rows]
    code, _, err = kd_sweeps("trials", "s", "--field", "nothing")
    assert code == 2
    assert "no field 'nothing'; fields: task, stage" in err


def test_without_a_command_the_help_is_printed(kd_sweeps: KdSweeps) -> None:
    _, out, err = kd_sweeps()
    assert "Usage: kd-sweeps" in out + err
    for command in ("create", "launch", "worker", "status", "best", "trials", "report", "dashboard", "data", "doctor"):
        assert command in out + err


def test_a_dry_run_prints_the_plan_and_writes_nothing(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    code, out, err = kd_sweeps("create", "s", "--preset", "full", "--trials", "40", "--dry-run")
    assert code == 0
    assert "work     3,795 trainings, about 12,000 core-minutes" in out.splitlines()
    assert err == "dry run: nothing written; to create it, repeat without --dry-run\n"
    assert len((out + err).splitlines()) == 7
    code, details, _ = kd_sweeps("create", "s", "--preset", "full", "--trials", "40", "--dry-run", "-v")
    assert (code, details.startswith(out)) == (0, True)
    assert "loss     alpha*CE(labels)" in details
    assert "transfer#target.native.5" in details
    assert files(tmp_path) == set()


def test_run_takes_the_options_of_create(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    options = ["--preset", "tiny", "--source", "digits-rgb", "--target", "mine.npz", "--teacher", "mlp-800"]
    options += ["--student", "cnn-small", "--seed", "7", "--trials", "9", "--set", "target.images=180", "--dry-run"]
    code, out, err = kd_sweeps("create", "s", *options, "-v")
    assert code == 0
    assert "teacher mlp-800, student cnn-small, 6 epochs" in out
    assert "search 9" in out
    assert kd_sweeps("run", "s", *options, "-v") == (code, out, err)
    assert files(tmp_path) == {"mine.npz"}


def test_several_targets_and_groups_are_planned_and_created(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    targets = ["--target", "digits-rgb", "--target", "mine.npz"]
    changes = ["--set", "target2.images=180", "--set", "outer.teachers=2", "--set", "transfer.seeds=2"]
    code, out, _ = kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes, "--dry-run", "-v")
    assert code == 0
    assert " -> mine.npz (180 images)" in out
    keys = {line.split()[0] for line in out.splitlines() if "#" in line.split()[0]}
    assert {"transfer@t1s0#target2.native.1", "native.search@target2.t1s0#7", "teachers#target2@t1"} <= keys
    assert kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes)[0] == 0
    rows = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    assert {row["task"] for row in rows} == keys


def test_a_printed_spec_can_be_edited_and_created(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    _, out, _ = kd_sweeps("spec", "tiny")
    (tmp_path / "my.toml").write_text(out.replace("trials = 8", "trials = 5"))
    assert kd_sweeps("create", "mine", "my.toml")[0] == 0
    status = json.loads(kd_sweeps("status", "mine", "-f", "json")[1])
    assert status["stages"]["search"] == {
        "waiting": 5,
        "running": 0,
        "done": 0,
        "failed": 0,
        "cancelled": 0,
        "skipped": 0,
        "unavailable": 0,
    }


def test_text_that_is_not_utf_8_is_refused_before_anything_is_written(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    """A shell passes such a byte on, and no report could be written with it."""
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--set", "note=bad \udcff")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "allowed: UTF-8 text" in err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_what_create_refuses_and_needs_no_database(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("create", "s", "--preset", "tiny")[0] == 0
    for command in ("create", "run"):
        code, out, err = kd_sweeps(command, "s", "--preset", "tiny", "--trials", "5", "--dry-run")
        assert (code, out) == (2, "")
        assert "sweep s exists with another spec" in err
    away = "postgresql://u@127.0.0.1:1/none"
    assert kd_sweeps("create", "s", "--preset", "tiny", "--dry-run", "--storage", away)[0] == 0


def test_without_a_password_the_url_is_part_of_the_line() -> None:
    _, worker, dashboard = next_commands("s", resolve("sqlite:////srv/a.db"))
    assert worker == "one more worker, on this machine: kd-sweeps worker s --storage sqlite:////srv/a.db"
    assert dashboard.endswith("optuna-dashboard sqlite:////srv/a.db")


def test_the_place_of_another_worker_depends_on_the_kind_of_storage() -> None:
    for url, where in (("sqlite:///a.db", "in this folder"), ("postgresql://me@db/sweeps", "on any machine")):
        assert next_commands("s", resolve(url))[1].startswith(f"one more worker, {where}: kd-sweeps worker s ")


def test_with_a_password_the_environment_holds_the_url() -> None:
    for url in ("postgresql://me:secret@db/sweeps", "postgresql://me@db/sweeps?password=secret"):
        lines = next_commands("s", resolve(url))
        assert lines[1] == "one more worker, wherever KD_SWEEPS_STORAGE holds this URL: kd-sweeps worker s"
        assert not any("secret" in line or "***" in line for line in lines)


def test_archive_and_import_print_what_they_did_and_what_to_type_next(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    lived(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, out, err = kd_sweeps("archive", "s", "-o", "s.kdsweep")
    assert (code, out) == (0, "")
    storage, wrote, answer, hint = err.splitlines()
    assert storage == "storage sqlite:///kd-sweeps.db"
    assert wrote.startswith("wrote s.kdsweep: ")
    assert ", 1 worker, 2 blobs; 0." in wrote
    assert answer.startswith("answer hash ")
    assert hint == (
        "to check it: kd-sweeps verify s.kdsweep; to import it into another storage:"
        " kd-sweeps import s.kdsweep --storage URL"
    )
    assert kd_sweeps("archive", "s", "-o", "s [1].kdsweep")[2].endswith(
        "kd-sweeps import 's [1].kdsweep' --storage URL\n"
    )
    code, out, err = kd_sweeps("import", "s.kdsweep", "--storage", "sqlite:///other.db", "--as", "theirs")
    assert (code, out) == (0, "")
    assert err.splitlines()[1].startswith("imported theirs: ")
    assert err.splitlines()[2] == f"{answer}. Next: kd-sweeps report theirs --storage sqlite:///other.db"
    code, _, err = kd_sweeps("import", "s.kdsweep")
    assert code == 1
    assert err.splitlines()[1].endswith("add --as NAME; or remove the existing one: kd-sweeps delete s")
    assert kd_sweeps("archive", "s", "-o", "s.kdsweep")[2] == (
        "kd-sweeps: s.kdsweep exists; to replace it, add --force\n"
    )
    assert kd_sweeps("archive", "s")[0] == 2


def test_archive_and_import_note_that_a_sweep_is_unfinished(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    lived(f"sqlite:///{tmp_path}/kd-sweeps.db", stop_at="search#2")
    assert (
        "s is not finished, so it has no answer hash yet"
        in kd_sweeps("archive", "s", "-o", "s.kdsweep")[2].splitlines()
    )
    code, _, err = kd_sweeps("import", "s.kdsweep", "--as", "t")
    assert (code, err.splitlines()[-1]) == (0, "not finished yet. Next: kd-sweeps launch t")

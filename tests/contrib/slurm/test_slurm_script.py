"""Options for sbatch, passed on or refused, and the printed script."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.slurm import check_options, ranges, script
from sweeps.errors import SpecError
from sweeps.workers.reach import log_folder
from tests.support.sweeps.typed_commands import KdSweeps

POSTGRES = "postgresql://keeper:g3heim@db.example.org/sweeps"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("--array=0-3", "array"),
        ("-a0-3", "array"),
        ("--arr=3", "array"),
        ("-o", "output"),
        ("--output=x", "output"),
        ("--export=NONE", "export"),
        ("--no-requeue", "no-requeue"),
        ("--signal=TERM@60", "signal"),
        ("--wrap=true", "wrap"),
        ("-M", "clusters"),
    ],
)
def test_what_a_launch_sets_itself_is_refused_in_one_line(word: str, name: str) -> None:
    with pytest.raises(SpecError, match=rf"got '{word}' after --; the launch itself sets --{name}; allowed: "):
        check_options(["--partition=main", word])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((words, "allowed: options of sbatch, for example -- --partition=main")  # sbatch would take it for the script
          for words in (["main"], ["--partition=main", "job.sh"], ["-p", "main", "job.sh"])),
        (["--comment=a\nrm -rf x"], "must not have line breaks"),  # the rest would be a command
    ],
)  # fmt: skip
def test_an_argument_that_is_not_an_sbatch_option_is_refused(options: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_options(options)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([0], "0"), ([0, 1, 2], "0-2"), ([7, 3, 0, 1], "0-1,3,7"), (range(1_000), "0-999")],
)
def test_array_indices_have_slurms_syntax(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_a_dry_run_prints_a_script_for_sbatch_without_the_password_and_needs_no_slurm(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", POSTGRES)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "100 %"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    words = ["launch", "mnist-kd", "--on", "slurm", "--workers", "64", "--dry-run", "--", "--partition=main"]
    code, out, err = kd_sweeps(*words, "-t", "1:00:00", "--exclusive", "--mem", "4G", '--comment=two "words"')
    assert code == 0, err
    directives = [line.removeprefix("#SBATCH ") for line in out.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "--job-name=kd-sweeps-mnist-kd",
        "--cpus-per-task=1",
        "--partition=main",
        "-t 1:00:00",
        "--exclusive",
        "--mem 4G",
        '"--comment=two \\"words\\""',
        "--array=0-63",
        "--export=ALL",
        "--requeue",
        "--open-mode=append",
        "--signal=B:USR1@60",
        f'--output="{tmp_path}/100 %%/kd-sweeps/log/{log_folder(resolve(), "mnist-kd").name}/slurm-%A_%a.log"',
    ]
    assert "g3heim" not in out + err
    assert not (tmp_path / "100 %").exists(), "a dry run creates nothing"
    checked = subprocess.run(["bash", "-n"], input=out, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--on", "slurm", "--dry-run"], 2, "--on slurm: give the number of workers"),
        (["--on", "slurm", "--workers", "2", "--dry-run", "--", "--array=1"], 2, "the launch itself sets --array"),
        (["--dry-run"], 2, "--dry-run needs --on slurm"),
        (["--detach"], 2, "--detach needs --on slurm"),
        (["--on", "slurm", "--workers", "1001", "--dry-run"], 2, "--workers: got '1001'"),
        (["--on", "slrum"], 2, "--on: got 'slrum'; allowed: local, slurm"),
        (["--", "--partition=main"], 2, "only Slurm and Ray take such options"),
    ],
)
def test_conflicting_options_are_reported_in_one_line(
    words: list[str], code: int, message: str, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", POSTGRES)
    exit_code, out, err = kd_sweeps("launch", "s", *words)
    assert (exit_code, out) == (code, "")
    assert message in err.splitlines()[-1]


def test_sqlite_is_refused_with_what_to_type(kd_sweeps: KdSweeps) -> None:
    code, _, err = kd_sweeps("launch", "s", "--on", "slurm", "--workers", "2")
    assert code == 1
    assert "kd-sweeps launch s --on slurm --storage postgresql://USER@HOST/DB" in err.splitlines()[-1]


# Cases of the script's `stop`: a worker signalled twice, and one that has not started yet.
STUB = """#!/bin/sh
case "$*" in
  *squeue*|*--noheader*) echo RUNNING ;;
  *) echo "$@" >>"$REQUEUED" ;;
esac
"""


@contextmanager
def as_member(tmp_path: Path, worker: str) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Run the script with stand-ins for the worker and for Slurm's programs; ended with the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scontrol"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    text = script("s", [0], [], logs=tmp_path, token="ab12")
    text = text.replace(f"{sys.executable} -P -m sweeps.cli worker s &", f"{sys.executable} -c '{worker}' &")
    env = {"PATH": f"{folder}:/usr/bin:/bin", "REQUEUED": str(tmp_path / "requeued")}
    env |= {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    with subprocess.Popen(["bash", "-c", text], env=env, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            yield process, tmp_path / "requeued"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.processes
@pytest.mark.parametrize("code", [0, 1, 143])
def test_a_member_exits_as_its_worker_and_is_requeued_only_after_143(code: int, tmp_path: Path) -> None:
    with as_member(tmp_path, f"raise SystemExit({code})") as (process, requeued):
        process.communicate(timeout=30)
    assert process.returncode == code
    assert (requeued.read_text() if requeued.exists() else "") == ("requeue 12_3\n" if code == 143 else "")


@pytest.mark.processes
def test_a_member_forwards_each_signal_and_waits_for_its_worker(tmp_path: Path) -> None:
    # os.write, since a handler that prints while the program prints is an error in Python.
    worker = (
        "import os, signal, time\n"
        "got = []\n"
        "for number in (signal.SIGTERM, signal.SIGUSR1):\n"
        '    signal.signal(number, lambda number, _: (got.append(number), os.write(1, b"15\\n")))\n'
        'os.write(1, os.environb[b"KD_SWEEPS_WORKER"] + b"\\n")\n'
        "while len(got) < 2:\n"
        "    time.sleep(0.01)\n"
        "raise SystemExit(143)"
    )
    with as_member(tmp_path, worker) as (process, requeued):
        assert process.stdout
        assert process.stdout.readline() == "slurm-12_3.0-ab12\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "15\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "15\n"
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert requeued.read_text() == "requeue 12_3\n"

"""`report` and `best`: their output on a terminal, in a pipe, and as code."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.findings.findings import Findings
from sweeps.report.answer import announced, badge, headline
from sweeps.report.brief import brief
from sweeps.report.page import report
from sweeps.report.words import parameter_effect
from tests.support.paths import REPOSITORY
from tests.support.sweeps.answered_sweeps import accuracies, answered
from tests.support.sweeps.planted_sweeps import analysed, worked
from tests.support.sweeps.trials_in_memory import trials_in_memory

KdSweeps = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder whose storage s.db holds the finished sweep "s"."""
    folder = tmp_path_factory.mktemp("results")
    with trials_in_memory():
        answered(folder, accuracies(1.6, untuned=0.5))
        yield folder


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/s.db"


@pytest.fixture(scope="module")
def findings(url: str) -> Findings:
    return analysed(resolve(url))


def on_terminal(folder: Path, *arguments: str, columns: int) -> tuple[int, str]:
    """Run kd-sweeps with stdout on a pseudo terminal; return exit code and output."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *arguments],
            cwd=folder,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(theirs)
    printed = bytearray()
    try:
        while part := _read(ours):
            printed += part
    finally:
        os.close(ours)
    return process.wait(timeout=60), printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises it when the other end is closed
        return b""


@pytest.mark.processes
def test_report_on_a_real_terminal_prints_the_brief_report(
    url: str, findings: Findings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    assert on_terminal(folder, "report", "s", columns=80) == (0, brief(findings, columns=80) + "\n")


def test_a_terminal_gets_the_brief_report_or_the_page_on_request(
    url: str, findings: Findings, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    assert kd_sweeps("report", "s", "--storage", url)[1] == brief(findings, columns=80) + "\n"
    assert kd_sweeps("report", "s", "-f", "markdown", "--storage", url)[1] == report(findings) + "\n"


def test_a_pipe_gets_the_whole_page_or_the_brief_report_or_json_on_request(
    url: str, findings: Findings, kd_sweeps: KdSweeps
) -> None:
    code, out, _ = kd_sweeps("report", "s", "--storage", url)
    assert (code, out) == (0, report(findings) + "\n")
    assert "\n## All numbers\n" in out
    assert kd_sweeps("report", "s", "-f", "brief", "--storage", url)[1] == brief(findings, columns=100) + "\n"
    assert json.loads(kd_sweeps("report", "s", "-f", "json", "--storage", url)[1])["headline"] == headline(findings)


def test_writing_a_report_prints_its_headline_and_its_path(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("report", "s", "-o", "new/folder", "--storage", url)
    assert (code, out) == (0, announced(findings) + "\n")
    assert err.splitlines()[-1] == "report   new/folder/report.html"
    assert Path("new/folder/report.html").is_file()


@pytest.mark.parametrize("wrong", ["a-file", "/proc/report"])
def test_an_impossible_folder_gives_a_one_line_error(wrong: str, url: str, kd_sweeps: KdSweeps) -> None:
    Path("a-file").touch()
    code, out, err = kd_sweeps("report", "s", "-o", wrong, "--storage", url)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"kd-sweeps: --output: cannot write a report into {wrong}: ")


def test_best_prints_the_verdict_and_whether_t_and_alpha_matter(
    url: str, findings: Findings, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    code, out, _ = kd_sweeps("best", "s")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    text = " ".join(out.split())
    source = findings.surfaces[0]
    verdict = f"{badge(findings).text}. {headline(findings)} digits: {parameter_effect(source, findings.spec.score)}."
    assert f"answer {verdict} answer hash {findings.answer_hash} as code kd-sweeps best s --paste" in text
    assert "Keras' untuned default does as well, within the noise." in text
    temperature = findings.confirmed["source"].best.point["temperature"]
    assert f"temperature  {temperature:.4g}" in out.splitlines()
    assert "import" not in out, "code is printed with --paste only"


def test_best_of_an_unfinished_sweep_has_no_verdict_yet(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    worked(f"sqlite:///{tmp_path}/s.db", stop_at="transfer")
    code, out, _ = kd_sweeps("best", "s", "--storage", f"sqlite:///{tmp_path}/s.db")
    assert code == 0
    assert "answer" not in out
    assert "validation " in out
    assert out.endswith(f"as code      kd-sweeps best s --paste --storage sqlite:///{tmp_path}/s.db\n")


def test_paste_prints_code_and_nothing_else(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("best", "s", "--paste", "--storage", url)
    assert code == 0
    assert err.startswith("storage "), "everything but code goes to stderr"
    compile(out, "pasted", "exec")
    assert "\n# the sweep's answer: " in out, "the answer can be another point than the printed one"
    point = findings.confirmed["source"].best.point
    assert out.count(repr(point["temperature"])) == 7, (
        "once per snippet and in timm's comment; TRL has no such parameter"
    )
    for line in out.splitlines():
        assert not line.startswith(("temperature ", "answer", "validation", "storage"))
    assert [line for line in out.splitlines() if line.startswith("import ")] == [
        *("import kd", "import keras", "import torch.nn.functional as F", "import torch"),
        *("import modelopt.torch.distill as mtd", "import torch.nn.functional as F"),
    ]


def test_best_is_printed_as_json_as_one_field_or_as_two_numbers(
    url: str, findings: Findings, kd_sweeps: KdSweeps
) -> None:
    def printed(*words: str) -> str:
        code, out, _ = kd_sweeps("best", "s", *words, "--storage", url)
        assert code == 0
        return out

    values = json.loads(printed("-f", "json"))
    assert {"temperature", "alpha"} == set(values["point"])
    assert list(values["paste"]) == ["kd", "keras", "pytorch", "timm", "torchdistill", "modelopt", "trl"]
    point = findings.confirmed["source"].best.point
    assert float(printed("--field", "point.temperature")) == pytest.approx(point["temperature"])
    (line,) = printed("-f", "value").splitlines()
    assert [float(word) for word in line.split(" ")] == pytest.approx([point["temperature"], point["alpha"]])

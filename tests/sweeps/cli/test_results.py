"""`report` and `best`: what a person sees on a terminal, what a pipe gets, and the code alone."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.url import resolve
from sweeps.cli.text import Format
from sweeps.findings.findings import Findings
from sweeps.report import answer
from sweeps.report.brief import brief
from sweeps.report.page import report
from sweeps.report.words import matters
from tests.support.paths import REPOSITORY
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, accuracies, answered, begun
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.terminal import on_terminal

KdSweeps = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose storage s.db has the finished sweep "s"."""
    folder = tmp_path_factory.mktemp("results")
    with trials_in_memory():
        answered(folder, accuracies((1.3, 1.6, 1.9), untuned=0.5), OVER_SEARCHES)
        yield folder


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/s.db"


@pytest.fixture(scope="module")
def findings(url: str) -> Findings:
    return analysed(resolve(url))


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_the_answer_in_a_few_lines(
    url: str, findings: Findings, folder: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    code, printed = on_terminal(folder, "report", "s", columns=columns)
    assert (code, printed) == (0, brief(findings, columns=columns) + "\n")
    assert max(map(len, printed.splitlines())) <= min(columns, 100)
    assert " ".join(printed.split()).endswith(answer.headline(findings))


def test_a_pipe_gets_the_whole_page_as_markdown(url: str, findings: Findings, folder: Path) -> None:
    command = [sys.executable, "-m", "sweeps.cli", "report", "s", "--storage", url]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == report(findings) + "\n"
    assert "\n## All numbers\n" in done.stdout


def test_a_terminal_gets_the_page_when_it_asks_for_it(url: str, findings: Findings, folder: Path) -> None:
    code, printed = on_terminal(folder, "report", "s", "-f", "markdown", "--storage", url, columns=80)
    assert (code, printed) == (0, report(findings) + "\n")


def test_a_pipe_gets_the_few_lines_when_it_asks_for_them(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("report", "s", "-f", "brief", "--storage", url)
    assert (code, out) == (0, brief(findings, columns=100) + "\n")


def test_another_program_gets_json(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("report", "s", "-f", "json", "--storage", url)
    assert code == 0
    assert json.loads(out)["headline"] == answer.headline(findings)


@pytest.mark.parametrize("form", ["xml", "table", "JSON", "html"])
def test_a_format_that_is_not_there_is_one_line(url: str, form: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("report", "s", "-f", form, "--storage", url)
    assert (code, out) == (2, "")
    assert err == f"kd-sweeps: --format: got '{form}'; allowed: brief, markdown, json\n"


def test_a_written_report_says_its_headline_and_where_it_is(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("report", "s", "-o", "new/folder", "--storage", url)
    assert (code, out) == (0, answer.headline(findings) + "\n")
    assert err.splitlines()[-1] == "report   new/folder/report.html"
    assert Path("new/folder/report.html").is_file()


@pytest.mark.parametrize("form", ["json", "brief", "xml"])
def test_a_written_report_has_every_format_so_none_can_be_chosen(url: str, form: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("report", "s", "-o", "x", "-f", form, "--storage", url)
    assert (code, out) == (2, "")
    assert err == f"kd-sweeps: --output writes every format; leave out --format {form}\n"
    assert not Path("x").exists()


@pytest.mark.parametrize("wrong", ["a-file", "a-file/inside", "/proc/report"])
def test_a_folder_that_cannot_be_is_one_line(wrong: str, url: str, kd_sweeps: KdSweeps) -> None:
    Path("a-file").touch()
    code, out, err = kd_sweeps("report", "s", "-o", wrong, "--storage", url)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"kd-sweeps: --output: cannot write a report into {wrong}: ")


def test_best_says_the_verdict_and_whether_t_and_alpha_matter(
    url: str, findings: Findings, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    code, out, _ = kd_sweeps("best", "s")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    said = " ".join(out.split())
    source = findings.surfaces[0]
    verdict = f"{answer.badge(findings).text}. {answer.headline(findings)} On digits {matters(source)}."
    assert f"answer {verdict} answer hash {findings.answer_hash} as code kd-sweeps best s --paste" in said
    assert "Keras' untuned default was not shown to be worse." in said
    assert out.splitlines()[0] == f"temperature  {findings.confirmed['source'].best.point.temperature:.4g}"
    assert "import" not in out, "code is for who asks for it"


def test_best_of_an_unfinished_sweep_has_no_verdict_yet(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    begun(tmp_path)
    code, out, _ = kd_sweeps("best", "s", "--storage", f"sqlite:///{tmp_path}/s.db")
    assert code == 0
    assert "answer" not in out
    assert "validation " in out
    assert out.endswith(f"as code      kd-sweeps best s --paste --storage sqlite:///{tmp_path}/s.db\n")


def test_paste_is_code_and_nothing_else(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("best", "s", "--paste", "--storage", url)
    assert code == 0
    assert err.startswith("storage "), "what is no code goes to stderr"
    compile(out, "pasted", "exec")
    point = findings.confirmed["source"].best.point
    assert out.count(repr(point.temperature)) == 3
    for line in out.splitlines():
        assert not line.startswith(("temperature ", "answer", "validation", "storage"))
    assert [line for line in out.splitlines() if line.startswith("import ")] == [
        *("import kd", "import keras", "import torch.nn.functional as F"),
    ]


@pytest.mark.parametrize("more", [("-f", "json"), ("--field", "temperature"), ("-f", "value", "--field", "alpha")])
def test_paste_in_a_format_is_refused_with_the_command_that_prints_it(
    url: str, more: tuple[str, ...], kd_sweeps: KdSweeps
) -> None:
    code, out, err = kd_sweeps("best", "s", "--paste", *more, "--storage", url)
    assert (code, out) == (2, "")
    again = f"best s -f json --field paste --storage {url}"
    assert err == (
        "kd-sweeps: --paste prints code alone; leave out --format and --field, or print the code in a format:"
        f" kd-sweeps {again}\n"
    )
    code, out, _ = kd_sweeps(*again.split())
    assert code == 0
    assert list(json.loads(out)) == ["kd", "keras", "pytorch"]


@pytest.mark.parametrize("form", list(Format))
def test_one_field_of_best_can_be_asked_for(url: str, findings: Findings, form: Format, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("best", "s", "-f", form.value, "--field", "temperature", "--storage", url)
    assert code == 0
    assert float(out.splitlines()[0]) == pytest.approx(findings.confirmed["source"].best.point.temperature)


def test_best_as_json_has_the_code_and_no_sentence(url: str, kd_sweeps: KdSweeps) -> None:
    found: dict[str, Any] = json.loads(kd_sweeps("best", "s", "-f", "json", "--storage", url)[1])
    assert {"temperature", "alpha", "confirmed", "paste", "answer_hash"} <= set(found)
    assert "UNDECIDED" not in json.dumps(found)


def test_the_value_of_best_is_two_numbers_on_one_line(url: str, findings: Findings, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("best", "s", "-f", "value", "--storage", url)
    point = findings.confirmed["source"].best.point
    assert code == 0
    assert out.count("\n") == 1
    assert [float(word) for word in out.split(" ")] == pytest.approx([point.temperature, point.alpha])


@pytest.mark.parametrize("command", ["status", "trials", "best"])
def test_what_people_read_fits_a_terminal_of_80_columns(url: str, folder: Path, command: str) -> None:
    code, printed = on_terminal(folder, command, "s", "--storage", url, columns=80)
    assert code == 0
    assert max(map(len, printed.splitlines())) <= 80

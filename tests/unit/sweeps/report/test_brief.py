"""The brief report for a terminal: short lines, the headline last."""

import re
import shlex
import sys
from dataclasses import replace

import pytest

from sweeps.findings.findings import Findings
from sweeps.report import answer, older
from sweeps.report.brief import brief
from sweeps.spec.model import override
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings


@pytest.fixture(scope="module")
def undecided() -> Findings:
    return make_findings(OVER_SEEDS, accuracies(1.0))


@pytest.fixture(scope="module")
def last_look() -> Findings:
    spec = override(OVER_SEEDS, {"transfer.looks": 1})
    return make_findings(spec, accuracies(1.0, untuned=0.5, source=0.5))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lines_fit_wrapping_loses_nothing_and_the_headline_is_last(
    undecided: Findings, last_look: Findings, columns: int
) -> None:
    for findings in (undecided, last_look):
        for page in ("", "s-report/report.html"):
            assert max(map(len, brief(findings, columns=columns, page=page).splitlines())) <= min(columns, 100)
        text = brief(findings, columns=columns)
        *_, last = text.split("\n\n")
        assert squeezed(last) == f"{answer.badge(findings).text}. {answer.headline(findings)}"
        assert squeezed(text).startswith(" ".join([*answer.banners(findings), older.question(findings)]))
        for card in older.cards(findings):
            assert f"{card.question} {card.word}. {card.value}, {card.interval}" in squeezed(text)
        assert f"What to do: {answer.advice(findings).text}" in squeezed(text)
    assert max(map(len, brief(last_look, columns=columns).splitlines())) > min(columns, 100) - 15, (
        "lines use the available width"
    )


def test_without_a_width_40_columns_are_assumed_and_24_lines_suffice(undecided: Findings) -> None:
    assert brief(undecided, columns=0) == brief(undecided, columns=40)
    assert len(brief(undecided, columns=80).splitlines()) <= 24


@pytest.mark.parametrize("columns", [40, 100])
def test_a_wrapped_command_can_still_be_pasted(undecided: Findings, columns: int) -> None:
    name = "a-name-that-is-as-long-as-a-name-may-be-which-is-64-characters-x"
    lines = brief(replace(undecided, name=name), columns=columns).splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith("kd-sweeps extend"))
    end = next(number for number, line in enumerate(lines) if line.startswith("digits"))
    typed = "\n".join(lines[start:end]).replace("\\\n", " ")
    commands = [shlex.split(line) for line in typed.splitlines()]
    assert commands[0] == ["kd-sweeps", "extend", name, "--seeds", "+6"]
    assert commands[1] == ["kd-sweeps", "launch", name]
    too_long = [line for line in lines if len(line) > columns]
    assert all(len(line.rstrip("\\").split()) <= 2 for line in too_long), "only unbreakable lines are longer"


@pytest.mark.parametrize("name", ["s", "kd-sweeps", "my-kd-sweeps"])
def test_commands_begin_with_the_program_as_it_was_called(
    undecided: Findings, last_look: Findings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/kd-sweeps", "report", name])
    lines = brief(replace(undecided, name=name), columns=100).splitlines()
    assert f"  .venv/bin/kd-sweeps extend {name} --seeds +6" in lines
    assert f"  .venv/bin/kd-sweeps launch {name}" in lines
    assert f"As a page: .venv/bin/kd-sweeps report {name} -o {name}-report" in lines
    text = squeezed(brief(replace(last_look, name=name), columns=100))
    assert (
        f"start another sweep: .venv/bin/kd-sweeps report {name} -o {name}-report, then .venv/bin/kd-sweeps create"
        f" {name}-2 {name}-report/spec.toml --seed 1 --set transfer.seeds=8"
    ) in text


def test_commands_name_the_storage_that_was_typed(
    undecided: Findings, last_look: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.hints._typed", "sqlite:///my.db")
    for findings in (undecided, last_look):
        text = brief(findings, columns=100).replace("\\\n", "")
        commands = re.findall(r"kd-sweeps [a-z]+ [^,;]*?(?=, then|\n\w|\n  kd|\n\n|$)", text)
        assert len(commands) == 3
        assert all(squeezed(command).endswith(" --storage sqlite:///my.db") for command in commands), commands
    assert "create s-2 s-report/spec.toml --seed 1 --set transfer.seeds=8 --storage sqlite:///my.db" in squeezed(
        brief(last_look, columns=100)
    )


def test_a_long_path_of_the_page_has_its_own_line(undecided: Findings) -> None:
    page = f"/tmp/{'folder with spaces/' * 6}report.html"
    lines = brief(undecided, columns=80, page=page).splitlines()
    assert lines[lines.index("The page:") + 1] == f"  {page}"
    assert "As a page" not in brief(undecided, columns=80, page=page)


def test_an_unfinished_sweep_has_no_answer_hash(undecided: Findings) -> None:
    assert re.search(r"^answer hash [0-9a-f]{12}$", brief(undecided, columns=80), re.MULTILINE)
    assert "answer hash" not in brief(replace(undecided, answer_hash=None), columns=80)

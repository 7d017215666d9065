"""The answer on a terminal: a few lines, none too long, the headline last."""

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
from tests.support.sweeps.builders import found


@pytest.fixture(scope="module")
def undecided() -> Findings:
    return found(OVER_SEEDS, accuracies(1.0))


@pytest.fixture(scope="module")
def last_look() -> Findings:
    spec = override(OVER_SEEDS, {"transfer.looks": 1})
    return found(spec, accuracies(1.0, untuned=0.5, source=0.5))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_too_long_nothing_is_lost_by_wrapping_and_the_headline_is_last(
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
    assert max(map(len, brief(last_look, columns=columns).splitlines())) > min(columns, 100) - 15, "the width is used"


def test_a_terminal_of_no_width_is_taken_for_a_narrow_one_and_a_small_screen_holds_it(undecided: Findings) -> None:
    assert brief(undecided, columns=0) == brief(undecided, columns=40)
    assert len(brief(undecided, columns=80).splitlines()) <= 24


@pytest.mark.parametrize("columns", [40, 100])
def test_a_command_that_is_too_long_can_still_be_pasted(undecided: Findings, columns: int) -> None:
    name = "a-name-that-is-as-long-as-a-name-may-be-which-is-64-characters-x"
    lines = brief(replace(undecided, name=name), columns=columns).splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith("kd-sweeps extend"))
    typed = "\n".join(lines[start : start + 6]).replace("\\\n", " ")
    commands = [shlex.split(line) for line in typed.splitlines()]
    assert commands[0] == ["kd-sweeps", "extend", name, "--seeds", "+6"]
    assert commands[1] == ["kd-sweeps", "launch", name]
    too_long = [line for line in lines if len(line) > columns]
    assert all(len(line.rstrip("\\").split()) <= 2 for line in too_long), "only what cannot break is longer"


@pytest.mark.parametrize("name", ["s", "kd-sweeps", "my-kd-sweeps"])
def test_commands_are_spelt_as_they_can_be_typed_here(
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


def test_a_page_with_a_long_path_is_on_a_line_of_its_own(undecided: Findings) -> None:
    page = f"/tmp/{'folder with spaces/' * 6}report.html"
    lines = brief(undecided, columns=80, page=page).splitlines()
    assert lines[lines.index("The page:") + 1] == f"  {page}"
    assert "As a page" not in brief(undecided, columns=80, page=page)


def test_an_unfinished_sweep_has_no_answer_hash(undecided: Findings) -> None:
    assert re.search(r"^answer hash [0-9a-f]{12}$", brief(undecided, columns=80), re.MULTILINE)
    assert "answer hash" not in brief(replace(undecided, answer_hash=None), columns=80)

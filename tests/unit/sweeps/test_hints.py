"""The commands to type: spelt as this program was called, or portable."""

import inspect
import sys
from collections.abc import Callable, Iterator

import pytest
import typer

from sweeps import create_sweep
from sweeps.cli.app import app
from sweeps.hints import PORTABLE, WITHOUT_STORAGE, Commands, as_typed, local


@pytest.mark.parametrize(
    ("called", "program"),
    [
        (".venv/bin/kd-sweeps", ".venv/bin/kd-sweeps"),
        ("../my [env]/bin/kd-sweeps", "'../my [env]/bin/kd-sweeps'"),
        ("/opt/venv/bin/kd-sweeps", "kd-sweeps"),
        ("kd-sweeps", "kd-sweeps"),
        ("/usr/lib/python3/site-packages/sweeps/cli/__main__.py", "kd-sweeps"),
    ],
)
def test_commands_begin_with_the_program_as_it_was_called(
    called: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "status", "s"])
    assert local() == Commands(program)
    assert local().line("launch", "s") == f"{program} launch s"


def test_commands_in_a_text_get_the_typed_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.hints._typed", "sqlite:///my.db")
    page = "try again: kd-sweeps retry s, then kd-sweeps launch s; a spec (kd-sweeps spec quick) is in my-kd-sweeps s"
    assert as_typed(page) == (
        "try again: kd-sweeps retry s --storage sqlite:///my.db, then kd-sweeps launch s --storage sqlite:///my.db;"
        " a spec (kd-sweeps spec quick) is in my-kd-sweeps s"
    )


def test_every_command_is_spelt_in_full() -> None:
    assert PORTABLE.retry_and_launch("s") == "kd-sweeps retry s, then kd-sweeps launch s"
    assert PORTABLE.line("create", "NAME", "my.toml") == "kd-sweeps create NAME my.toml"
    assert PORTABLE.line("logs", "s", "--task", "search#3") == "kd-sweeps logs s --task search#3"


def test_a_command_has_the_typed_storage_if_it_takes_one() -> None:
    typed = Commands("kd-sweeps", "sqlite:///my sweeps.db")
    assert typed.line("launch", "s") == "kd-sweeps launch s --storage 'sqlite:///my sweeps.db'"
    assert typed.line("spec", "quick") == "kd-sweeps spec quick"


def test_commands_without_a_storage_are_listed() -> None:
    without = {name for name, function in _commands(app) if "storage" not in inspect.signature(function).parameters}
    assert {name.partition(" ")[0] for name in without} == set(WITHOUT_STORAGE)


def _commands(typed: typer.Typer, before: str = "") -> Iterator[tuple[str, Callable[..., None]]]:
    for command in typed.registered_commands:
        assert command.callback is not None
        yield before + (command.name or command.callback.__name__), command.callback
    for group in typed.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{group.name} " if isinstance(group.name, str) else before)


def test_printed_commands_have_the_typed_storage(kd_sweeps: Callable[..., tuple[int, str, str]]) -> None:
    create_sweep("s", preset="tiny", storage="sqlite:///theirs.db")
    code, _, err = kd_sweeps("pause", "s", "--storage", "sqlite:///theirs.db")
    assert code == 0
    assert "kd-sweeps resume s --storage sqlite:///theirs.db" in err
    code, _, err = kd_sweeps("resume", "s")
    assert code == 1
    assert "no storage at sqlite:///kd-sweeps.db" in err
    assert "theirs.db" not in err
    _, _, err = kd_sweeps("resume", "none", "--storage", "sqlite:///theirs.db")
    assert "kd-sweeps create none --storage sqlite:///theirs.db" in err

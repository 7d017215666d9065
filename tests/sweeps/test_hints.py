"""The commands to type: as this program was called, or as it is called anywhere."""

import sys

import pytest

from sweeps.hints import ANYWHERE, Commands, here


@pytest.mark.parametrize(
    ("called", "program"),
    [
        (".venv/bin/kd-sweeps", ".venv/bin/kd-sweeps"),
        ("/opt/venv/bin/kd-sweeps", "kd-sweeps"),
        ("kd-sweeps", "kd-sweeps"),
        ("/usr/lib/python3/site-packages/sweeps/cli/__main__.py", "kd-sweeps"),
    ],
)
def test_commands_are_spelt_as_the_reader_can_type_them(
    called: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "status", "s"])
    assert here() == Commands(program)
    assert here().launch("s") == f"{program} launch s"


def test_a_command_that_follows_another_is_spelt_in_full() -> None:
    assert ANYWHERE.retry_and_launch("s") == "kd-sweeps retry s, then kd-sweeps launch s"
    assert ANYWHERE.create("NAME", "my.toml") == "kd-sweeps create NAME my.toml"
    assert ANYWHERE.line("logs", "s", "--task", "search#3") == "kd-sweeps logs s --task search#3"

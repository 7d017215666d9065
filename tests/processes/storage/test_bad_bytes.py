"""Damage in the database, through the real commands: one line, exit code 1, and repair where possible."""

from pathlib import Path

import pytest

from storage.tables import SCHEMA_VERSION
from storage.url import plain
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.typed_commands import KdSweeps

COMMANDS = {
    "status": ["status", "s"],
    "audit": ["status", "s", "--audit"],
    "best": ["best", "s"],
    "trials": ["trials", "s"],
    "report": ["report", "s"],
    "list": ["list"],
    "create": ["create", "s"],
    "launch": ["launch", "s", "--workers", "1"],
    "worker": ["worker", "s"],
    "pause": ["pause", "s"],
    "retry": ["retry", "s"],
    "reap": ["reap", "s"],
    "extend": ["extend", "s", "--seeds", "+1"],
    "delete": ["delete", "s", "--yes"],
}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a small sweep "s" to damage; the workers' logs go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return plain(created(f"sqlite:///{tmp_path}/x.db"))


class Commands:
    """Runs commands on one storage."""

    def __init__(self, kd_sweeps: KdSweeps, url: str) -> None:
        self.kd_sweeps, self.url = kd_sweeps, url

    def code(self, command: str) -> int:
        return self.run(command)[0]

    def run(self, command: str) -> tuple[int, str, list[str]]:
        code, out, err = self.kd_sweeps(*COMMANDS[command], "--storage", self.url)
        assert "Traceback" not in out + err, err
        return code, out, [line for line in err.splitlines() if not line.startswith("storage ")]

    def line(self, command: str) -> str:
        """Return the one line of a command that fails as expected."""
        code, out, lines = self.run(command)
        assert (code, out) == (1, ""), (code, out)
        # `launch` and `worker` log other lines before it.
        last = lines[-1]
        assert last.startswith("kd-sweeps: ")
        assert command in ("launch", "worker") or len(lines) == 1, lines
        return last


@pytest.fixture
def commands(kd_sweeps: KdSweeps, url: str) -> Commands:
    return Commands(kd_sweeps, url)


def test_a_storage_of_another_version_is_refused_by_every_command(commands: Commands, url: str) -> None:
    execute(url, f"UPDATE kd_sweeps_schema SET version = {SCHEMA_VERSION - 1}")
    for command in COMMANDS:
        assert (
            "was made by an older kd-sweeps (schema 4; this one needs 5); stop its workers, and type"
            in commands.line(command)
        )


def test_tables_of_another_optuna_stop_only_the_commands_that_need_them(commands: Commands, url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = 'v99.0.0'")
    for command in ("create", "delete"):
        line = commands.line(command)
        assert "has Optuna tables of version v99.0.0, but v" in line
        assert "upgrade Optuna here" in line
    assert "has Optuna tables of version v99.0.0, but the audit was tested with v" in commands.line("audit")
    assert [commands.code(command) for command in ("status", "trials", "list", "reap", "pause")] == [0] * 5
    assert commands.run("status")[1].count("cancelled") == 0, "the refused deletion has not cancelled it"


@pytest.mark.slow
def test_a_launch_runs_despite_tables_of_another_optuna_and_reports_the_stale_dashboard(
    commands: Commands, url: str
) -> None:
    execute(url, "UPDATE alembic_version SET version_num = 'v99.0.0'")
    code, out, lines = commands.run("launch")
    assert (code, out) == (0, "")
    assert any("has Optuna tables of version v99.0.0" in line and "upgrade Optuna here" in line for line in lines)


def test_a_missing_optuna_table_is_one_line_and_create_restores_it(commands: Commands, url: str) -> None:
    execute(url, "DROP TABLE trial_params")
    assert "lacks a table of kd-sweeps or Optuna" in commands.line("audit")
    assert "trial_params" in commands.line("audit")
    assert commands.code("status") == 0
    assert commands.code("create") == 0
    assert commands.code("audit") == 0


def test_an_edited_spec_is_refused_by_every_command_that_uses_it(commands: Commands, url: str) -> None:
    execute(url, "UPDATE sweeps SET spec = replace(spec, '\"trials\": 4', '\"trials\": 400')")
    for command in ("launch", "reap", "extend"):
        line = commands.line(command)
        assert "the stored spec of s was edited" in line
        assert "put it back, or create another sweep: kd-sweeps create NAME" in line
    assert commands.code("status") == 0
    assert commands.code("audit") == 1
    execute(url, "UPDATE sweeps SET spec = replace(spec, '\"trials\": 400', '\"trials\": 4')")
    assert commands.code("audit") == 0

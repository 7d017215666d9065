"""What `create` says to type next: lines that work as they stand, and hold no password."""

from storage.url import resolve
from sweeps.cli.app import next_commands


def test_without_a_password_the_url_is_part_of_the_line() -> None:
    _, worker, dashboard = next_commands("s", resolve("sqlite:////srv/a.db"))
    assert worker.startswith("kd-sweeps worker s --storage sqlite:////srv/a.db ")
    assert dashboard.endswith("optuna-dashboard sqlite:////srv/a.db")


def test_with_a_password_the_environment_holds_the_url() -> None:
    for url in ("postgresql://me:secret@db/sweeps", "postgresql://me@db/sweeps?password=secret"):
        lines = next_commands("s", resolve(url))
        assert lines[1].startswith("kd-sweeps worker s ")
        assert "KD_SWEEPS_STORAGE" in lines[1]
        assert not any("secret" in line or "***" in line for line in lines)

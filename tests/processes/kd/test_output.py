"""kd.tools.processes: what nobody can store is dropped, and nobody fails because of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.processes

FULL = Path("/dev/full")  # every write into it fails as on a full disk

PRINTS = """
import sys
from kd.tools.processes import forgiving

with forgiving():
    for number in range(5000):
        print("noise", number)
        print("noise", number, file=sys.stderr)
sys.exit(7)
"""

CHILD = """
import sys
from kd.tools.processes import run_in_subprocess

def noisy(report):
    print("noise" * 10_000, flush=True)
    return 7

if __name__ == "__main__":
    sys.exit(run_in_subprocess(noisy, on_step=lambda: None))
"""


def ended(code: str, folder: Path, out: Path) -> int:
    """The exit code of a program whose output goes into a file."""
    (folder / "program.py").write_text(code)
    with out.open("wb") as file:
        command = [sys.executable, "-P", str(folder / "program.py")]
        environment = {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder)}
        return subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("code", [PRINTS, CHILD], ids=["itself", "a child"])
def test_printing_where_there_is_no_room_ends_nothing(tmp_path: Path, code: str) -> None:
    assert ended(code, tmp_path, FULL) == 7


def test_where_there_is_room_every_word_arrives(tmp_path: Path) -> None:
    assert ended(PRINTS, tmp_path, tmp_path / "out") == 7
    assert (tmp_path / "out").read_text().split().count("noise") == 10_000

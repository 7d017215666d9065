"""kd.tools.processes: output that cannot be stored is dropped, and nothing fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd.tools.processes import forgiving
from tests.support.paths import REPOSITORY

FULL = Path("/dev/full")  # every write to it fails as on a full disk

PROGRAM = """
import sys
from kd.tools.processes import run_in_subprocess
from tests.processes.kd.children import ignore_step, print_much

if __name__ == "__main__":
    sys.exit(run_in_subprocess(print_much, on_step=ignore_step))
"""


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_output_ends_no_child(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with FULL.open("wb") as file:
        command = [sys.executable, "-P", str(tmp_path / "program.py")]
        environment = {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
        assert subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode == 7


def test_all_output_arrives_on_a_disk_with_space(capfd: pytest.CaptureFixture[str]) -> None:
    with forgiving():
        for number in range(5000):
            print("noise", number)
            print("noise", number, file=sys.stderr)
            os.write(1, b"between\n")
    out, err = capfd.readouterr()
    assert [text.split().count("noise") for text in (out, err)] == [5000, 5000]
    assert out.startswith("noise 0\nbetween\nnoise 1\n"), "each line must be passed on at once"

"""A full disk under the database, the logs or the temporary files: one line, nothing lost, work resumes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.records import queries
from sweeps.query.listing import open_sweep
from tests.support.faults.database_faults import is_under_way
from tests.support.faults.small_disks import CannotMount, SmallDisk, small_disk
from tests.support.faults.storms import Count, count
from tests.support.launches import environment, launched, start_launch
from tests.support.sweeps.small_sweeps import created, wait_until

FULL = "disk is full; free space there; the workers wait"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Yield a disk of 16 MB, enough for a small sweep."""
    try:
        with small_disk(tmp_path / "disk", megabytes=16) as volume:
            yield volume
    except CannotMount as error:
        pytest.skip(str(error))


def read_until(process: "subprocess.Popen[str]", text: str, disk: SmallDisk) -> str:
    """Return the output of a launch up to the line with this text, while the disk stays full."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
        disk.fill()
    raise AssertionError(f"it ended without {text!r}:\n{output}")


def counted(url: str) -> Count:
    """Count what the sweep left, and check that nothing is missing."""
    books = count(url, name="s")
    assert books.clean, books
    return books


def test_workers_wait_until_there_is_room_under_the_database_and_lose_nothing(disk: SmallDisk, tmp_path: Path) -> None:
    url = f"sqlite:///{disk.folder}/s.db"
    process = start_launch(environment(tmp_path / "home", created(url), "time.sleep(0.2)"), workers=1)
    wait_until(lambda: is_under_way(url) or process.poll() is not None, "no task was begun")
    disk.fill()
    output = read_until(process, FULL, disk)
    disk.free()
    output += process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert output.count(FULL) == 1
    for bad in ("takes its place", "does not move", "Traceback"):  # no worker died or was ended
        assert bad not in output
    counted(url)


def test_a_full_disk_under_the_logs_loses_no_task(disk: SmallDisk, tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    noisy = "for number in range(20): print('noise' * 2000, number), print('noise' * 2000, file=sys.stderr)"
    env = environment(tmp_path / "home", url, noisy) | {"XDG_STATE_HOME": str(disk.folder)}
    disk.fill()
    code, output = launched(env, workers=1)
    assert code == 0, output
    assert "takes its place" not in output
    counted(f"sqlite:///{tmp_path}/s.db")


def test_without_space_for_temporary_files_a_worker_stops_and_the_next_uses_another_folder(
    disk: SmallDisk, tmp_path: Path
) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")
    write = f"""
    import subprocess, tempfile
    if claim.key == "search#1" and once("filled"):
        subprocess.run("cat /dev/zero > {disk.folder}/fill", shell=True, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryFile() as file: file.write(bytes(100_000))
    """
    code, output = launched(environment(tmp_path / "home", url, write) | {"TMPDIR": str(disk.folder)}, workers=1)
    assert code == 0, output
    assert output.count("starting another") == 1
    assert f"No space left on device; temporary files go to {disk.folder}/" in output
    assert (
        "free space there, or name another folder: export TMPDIR=DIR; nothing is lost. Fix that, then type:" in output
    )
    assert "Traceback" not in output
    with open_sweep(url, "s") as (engine, sweep):
        tries = queries.attempts_of(engine, sweep.id, "search#1") or []
    assert [attempt.state for attempt in tries] == ["released", "done"]
    counted(f"sqlite:///{tmp_path}/s.db")

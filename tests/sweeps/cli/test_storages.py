"""sweeps.contrib.archive.commands: what archive and import say."""

from collections.abc import Callable
from pathlib import Path

from tests.support.sweeps.archived_sweeps import lived

Run = Callable[..., tuple[int, str, str]]


def test_archive_and_import_say_what_they_did_and_what_to_type_next(kd_sweeps: Run, tmp_path: Path) -> None:
    lived(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, out, err = kd_sweeps("archive", "s", "-o", "s.kdsweep")
    assert (code, out) == (0, "")
    storage, wrote, answer, hint = err.splitlines()
    assert storage == "storage sqlite:///kd-sweeps.db"
    assert wrote.startswith("wrote s.kdsweep: ")
    assert ", 1 worker, 2 blobs; 0." in wrote
    assert answer.startswith("answer hash ")
    assert hint == (
        "to check it: kd-sweeps verify s.kdsweep; to put it into another storage:"
        " kd-sweeps import s.kdsweep --storage URL"
    )
    code, out, err = kd_sweeps("import", "s.kdsweep", "--storage", "sqlite:///other.db", "--as", "theirs")
    assert (code, out) == (0, "")
    assert err.splitlines()[1].startswith("imported theirs: ")
    assert err.splitlines()[2] == f"{answer}. Next: kd-sweeps report theirs --storage sqlite:///other.db"
    code, _, err = kd_sweeps("import", "s.kdsweep")
    assert code == 1
    assert err.splitlines()[1].endswith("add --as NAME; or remove the one that is there: kd-sweeps delete s")
    assert kd_sweeps("archive", "s", "-o", "s.kdsweep")[2] == (
        "kd-sweeps: s.kdsweep is there already; to replace it add --force\n"
    )
    assert kd_sweeps("archive", "s")[0] == 2


def test_of_an_unfinished_sweep_both_say_so(kd_sweeps: Run, tmp_path: Path) -> None:
    lived(f"sqlite:///{tmp_path}/kd-sweeps.db", stop_at="search#2")
    assert "s has not ended: no answer hash yet" in kd_sweeps("archive", "s", "-o", "s.kdsweep")[2].splitlines()
    code, _, err = kd_sweeps("import", "s.kdsweep", "--as", "t")
    assert (code, err.splitlines()[-1]) == (0, "it has not ended. Next: kd-sweeps launch t")

"""sweeps.contrib.archive.transfer: a sweep survives the round trip through a file unchanged."""

import contextlib
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from storage.errors import ArchiveBroken, BlobCorrupt, SpecConflict, StorageError
from storage.failpoints import POINTS, VARIABLE
from storage.studies.studies import open_studies
from storage.url import plain, resolve
from sweeps.contrib.archive.file import open_archive
from sweeps.contrib.archive.lines import SweepLines
from sweeps.contrib.archive.transfer import archive_sweep, import_sweep
from sweeps.contrib.archive.verify import consistency_checks, verify
from sweeps.errors import SpecError, SweepError
from sweeps.usecases.run import publish
from sweeps.usecases.steering import delete
from tests.support.sweeps.archived_sweeps import edited, lived, members, packed, records
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import violations, work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import FORK, SMALL, created, start_worker
from tests.support.sweeps.trials_in_memory import copied, trials_in_memory
from tests.support.sweeps.typed_commands import KdSweeps

READING = (["status", "s", "--audit"], ["best", "s"], ["report", "s"])  # the tables themselves are compared as bytes


@pytest.fixture
def origin(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/here.db"


@pytest.fixture
def destination(tmp_path: Path, in_memory: None) -> sqlalchemy.URL:
    return resolve(f"sqlite:///{tmp_path}/there.db")


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archived")
    with trials_in_memory():
        archive_sweep(lived(f"sqlite:///{folder}/here.db"), "s", folder / "s.kdsweep")
    return folder


@pytest.fixture
def file(tmp_path: Path, _made: Path) -> Path:
    """Return an archive of a finished sweep, which is in `origin`."""
    copied(_made / "here.db", tmp_path / "here.db")
    return Path(shutil.copy(_made / "s.kdsweep", tmp_path))


def trials(url: sqlalchemy.URL) -> dict[str, Any]:
    """Return every study through Optuna's interface, as the dashboard shows it, without times and identities."""
    studies: dict[str, Any] = {}
    with contextlib.closing(open_studies(url)) as opened:
        for name, number in opened.ids().items():
            loaded = optuna.load_study(study_name=name, storage=opened.storage)
            notes = opened.storage.get_study_system_attrs(number)
            studies[name] = (
                {key: value for key, value in loaded.user_attrs.items() if key != "identity"},
                loaded.direction,
                loaded.metric_names,
                [
                    (trial.number, trial.state, trial.values, trial.params, trial.distributions, trial.user_attrs)
                    for trial in loaded.trials
                ],
                {key: text for key, text in notes.items() if "note_str" in key},
            )
    return studies


def _without_notes(studies: dict[str, Any]) -> dict[str, Any]:
    return {name: study[:-1] for name, study in studies.items()}


def test_everything_that_reads_a_sweep_reads_the_same_in_another_storage(
    origin: str, tmp_path: Path, kd_sweeps: KdSweeps
) -> None:
    url, destination = lived(origin), resolve(f"sqlite:///{tmp_path}/there.db")
    first, second = (tmp_path / f"{number}.kdsweep" for number in (1, 2))
    archived = archive_sweep(url, "s", first)
    assert (archived.counts[0], archived.answer_hash is None) == (f"{len(records(url))} tasks", False)
    assert import_sweep(destination, first).answer_hash == archived.answer_hash
    publish(url, "s")
    assert trials(destination) == trials(url)
    for command in READING:
        text = kd_sweeps(*command, "-f", "json", "--storage", plain(url))[1]
        assert len(text) > 100
        assert kd_sweeps(*command, "-f", "json", "--storage", plain(destination))[1] == text, command
    archive_sweep(destination, "s", second)
    assert second.read_bytes() == first.read_bytes()


def test_a_round_trip_from_postgres_to_sqlite_changes_nothing(postgres_url: str, tmp_path: Path) -> None:
    url, destination = lived(postgres_url), resolve(f"sqlite:///{tmp_path}/there.db")
    first, second, third = (tmp_path / f"{number}.kdsweep" for number in (1, 2, 3))
    archive_sweep(url, "s", first)
    import_sweep(destination, first)
    publish(url, "s")
    before = trials(url)
    assert trials(destination) == before
    archive_sweep(destination, "s", second)
    delete(url, "s")
    import_sweep(url, second)
    archive_sweep(url, "s", third)
    assert second.read_bytes() == third.read_bytes() == first.read_bytes()
    assert _without_notes(trials(url)) == _without_notes(before)  # they contain the numbers of studies, which differ


def test_an_archive_holds_logs_tracebacks_and_workers(file: Path) -> None:
    files = members(file)
    assert b"loss: nan \\u00e9 \\u2713" in files["attempts.jsonl"]
    assert b"Traceback (most recent call last)" in files["attempts.jsonl"]
    assert files["workers.jsonl"].count(b"\n") == 1


def test_trials_of_other_tools_keep_their_numbers_free(
    origin: str, tmp_path: Path, destination: sqlalchemy.URL
) -> None:
    url = created(origin)
    with contextlib.closing(open_studies(url)) as opened:
        optuna.load_study(study_name="s", storage=opened.storage).add_trial(optuna.trial.create_trial(value=0.1))
    work(url, quadratic)
    archive_sweep(url, "s", tmp_path / "s.kdsweep")
    import_sweep(destination, tmp_path / "s.kdsweep")
    assert [task.trial_number for task in records(destination).values()] == [
        task.trial_number for task in records(url).values()
    ]
    placeholder = trials(destination)["s"][3][0]
    assert placeholder[1] == optuna.trial.TrialState.FAIL
    assert "no task of the sweep has this trial" in placeholder[5]["failure"]["reason"]
    assert violations(destination) == []


def test_an_unfinished_sweep_resumes_where_it_is_imported(
    origin: str, tmp_path: Path, destination: sqlalchemy.URL
) -> None:
    url = lived(origin, stop_at="confirm")
    assert [task.state for task in records(url).values()].count("running") == 1
    path = tmp_path / "s.kdsweep"
    archived = archive_sweep(url, "s", path)
    assert archived.answer_hash is None
    assert import_sweep(destination, path, name="again").answer_hash is None
    tasks = records(destination, "again")
    assert [task.state for task in tasks.values()].count("running") == 0
    (stopped,) = [task for task in tasks.values() if task.attempt and task.state == "waiting"]
    assert stopped.reason == "it was running when the sweep was archived"
    work(destination, quadratic, name="again")
    assert violations(destination, "again") == []
    assert {task.state for task in records(destination, "again").values()} == {"done"}


def test_an_untouched_sweep_can_be_archived(origin: str, tmp_path: Path, destination: sqlalchemy.URL) -> None:
    archive_sweep(created(origin), "s", tmp_path / "s.kdsweep")
    import_sweep(destination, tmp_path / "s.kdsweep")
    work(destination, quadratic)
    assert {task.state for task in records(destination).values()} == {"done"}


def test_an_existing_file_is_kept_without_force(file: Path, origin: str) -> None:
    before = file.read_bytes()
    with pytest.raises(SweepError, match="exists; to replace it, add --force"):
        archive_sweep(resolve(origin), "s", file)
    file.write_bytes(b"x")
    archive_sweep(resolve(origin), "s", file, force=True)
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".*"))


def test_a_file_name_without_the_archive_suffix_is_refused(origin: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"the file name must end in .kdsweep, for example mnist-kd.kdsw"):
        archive_sweep(created(origin), "s", tmp_path / "s.zip")


def test_a_damaged_sweep_is_not_archived(origin: str, tmp_path: Path) -> None:
    url = lived(origin)
    execute(origin, "UPDATE blobs SET bytes = x'00'")
    with pytest.raises(BlobCorrupt, match="is damaged"):
        archive_sweep(url, "s", tmp_path / "s.kdsweep")
    assert not list(tmp_path.glob("*kdsweep*"))
    assert not list(tmp_path.glob(".*"))


def test_a_log_with_a_nul_reaches_postgres(origin: str, tmp_path: Path, postgres_url: str) -> None:
    url = lived(origin, stop_at="search#2")
    execute(origin, "UPDATE attempts SET log = 'a' || char(0) || 'b' WHERE task_id = 1")
    archive_sweep(url, "s", tmp_path / "s.kdsweep")
    import_sweep(resolve(postgres_url), tmp_path / "s.kdsweep")
    assert "a\\ufffdb" in members(tmp_path / "s.kdsweep")["attempts.jsonl"].decode()


def test_a_taken_name_is_refused_and_an_import_under_another_name_uses_it_everywhere(
    file: Path, origin: str, in_memory: None
) -> None:
    url = resolve(origin)
    before, studies = records(url), trials(url)
    with pytest.raises(SpecConflict, match=r"a sweep 's' exists in .*add --as NAME"):
        import_sweep(url, file)
    with pytest.raises(SpecError, match="sweep name 'a b'"):
        import_sweep(url, file, name="a b")
    assert records(url) == before
    import_sweep(url, file, name="other")
    assert set(trials(url)) == set(studies) | {study.replace("s", "other", 1) for study in studies}
    assert SMALL.search.trials == len(trials(url)["other"][3]) - 1, "one trial has a second attempt"
    assert records(url) == before
    assert {task.state for task in records(url, "other").values()} == {"done"}
    assert violations(url, "other") == []


def test_a_study_of_another_tool_is_left_alone(file: Path, destination: sqlalchemy.URL) -> None:
    with contextlib.closing(open_studies(created(plain(destination), name="other"))) as opened:
        optuna.create_study(study_name="s.transfer", storage=opened.storage)
    with pytest.raises(SpecConflict, match=r"study 's.transfer' in .* belongs to another program"):
        import_sweep(destination, file)
    assert "s.transfer" in trials(destination)
    assert "s" not in trials(destination)


def _import_and_crash(url: str, path: Path, point: str) -> None:
    os.environ[VARIABLE] = point
    import_sweep(resolve(url), path)


@pytest.mark.processes
def test_an_import_killed_at_any_point_is_completed_by_the_next_or_by_a_create(file: Path, tmp_path: Path) -> None:
    url, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("there", "other"))
    for at, point in ((other, "import-studies"), *((url, point) for point in POINTS["import"])):
        doomed = FORK.Process(target=_import_and_crash, args=(at, file, point))
        doomed.start()
        doomed.join(60)
        assert doomed.exitcode == -9, point
        if point != "import-done":
            with pytest.raises(StorageError):
                records(resolve(at))
    assert violations(resolve(url)) == []
    assert len(trials(resolve(other))["s"][3]) > 1
    work(created(other), quadratic)
    assert violations(resolve(other)) == []


@pytest.mark.processes
@pytest.mark.slow_on("sqlite")
def test_an_archive_of_a_running_sweep_is_a_snapshot(storage_url: str, tmp_path: Path) -> None:
    url = created(storage_url)
    worker, path, hashes = start_worker(storage_url, seconds=0.05), tmp_path / "s.kdsweep", set()
    while worker.is_alive():
        archive_sweep(url, "s", path, force=True)
        checks = verify(path)
        assert [check for check in checks if check.differs] == []
        hashes.add(checks[3].what)
    assert worker.exitcode == 0
    assert len(hashes) > 3, "tasks.jsonl must differ each time"


def _failed(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in lines if line["state"] == "failed")


def _line(change: Callable[[dict[str, Any]], Any]) -> Callable[[list[dict[str, Any]]], None]:
    return lambda lines: change(lines[0])


NESTED = reduce(lambda value, _: [value], range(101), 1)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tasks.jsonl", lambda lines: lines.append(lines[0]), r"tasks.jsonl: \S+ appears twice"),
        ("tasks.jsonl", _line(lambda line: line.update(phase="x")), "is of phase 'x', which phases.jsonl lacks"),
        ("tasks.jsonl", _line(lambda line: line["outcome"].update(x=NESTED)), "line 1 is not JSON .it is nested"),
        ("tasks.jsonl", _line(lambda line: line.pop("key")), r"tasks.jsonl line 1: key \(Field required\)"),
        ("tasks.jsonl", _line(lambda line: line.update(extra=1)), r"extra is 1 \(Extra inputs"),
        ("tasks.jsonl", _line(lambda line: line.update(state="x")), r"state is 'x' \(allowed: waiting, running"),
        ("tasks.jsonl", _line(lambda line: line.update(priority=2**40)), "priority is 1099511627776"),
        ("tasks.jsonl", _line(lambda line: line.update(score="1")), "score is '1'"),
        ("attempts.jsonl", _line(lambda line: line.update(task="x")), "an attempt at 'x', which tasks.jsonl lacks"),
        ("attempts.jsonl", _line(lambda line: line.update(log="a\0")), "a NUL character"),
        ("attempts.jsonl", _line(lambda line: line.update(log="\ud800")), "log is"),
        ("attempts.jsonl", _line(lambda line: line.update(worker="x" * 200)), "at most 128 "),
        ("attempts.jsonl", lambda lines: _failed(lines)["params"].update(alpha=9.0), "audit: search#1 .*alpha': 9.0"),
        (
            "attempts.jsonl",
            lambda lines: _failed(lines).update(trial_number=2**30),
            "expected retry_of 1073741824",
        ),
        ("attempts.jsonl", _line(lambda line: line.update(started_at=1e300)), "started_at is 1e"),
        ("attempts.jsonl", _line(lambda line: line.update(lease_until=float("nan"))), "lease_until is nan"),
        ("phases.jsonl", _line(lambda line: line.update(needs=["x"])), "needs 'x', which phases.jsonl lacks"),
        ("phases.jsonl", _line(lambda line: line.update(needs=["lag:x"])), "which has no meaning"),
        (
            "tasks.jsonl",
            _line(lambda line: line["payload"].update(role="target3")),
            "expected role source as planned, found target3",
        ),
        (
            "tasks.jsonl",
            _line(lambda line: line["outcome"].update(blobs={"x": "../x"})),
            "a blob '../x', which is",
        ),
        ("sweep.jsonl", lambda lines: lines.append(lines[0]), "sweep.jsonl has 2 lines"),
        ("sweep.jsonl", _line(lambda line: line.update(name="x")), "sweep.jsonl a different one"),
        (
            "sweep.jsonl",
            _line(lambda line: line["spec"].update(seed=7)),
            "the spec of .*was changed: expected fingerprint",
        ),
        ("tasks.jsonl", _line(lambda line: line.update(score=0.1)), "audit: teachers#"),
        (
            "selections.jsonl",
            _line(lambda line: line["value"]["candidates"][0].update(alpha="x")),
            "s.kdsweep: audit: selection confirm.best: expected .* 'x'}; all differences: kd-sweeps verify ",
        ),
    ],
)
def test_edited_lines_are_refused_in_one_line_and_nothing_is_written(
    file: Path, destination: sqlalchemy.URL, name: str, change: Callable[[list[dict[str, Any]]], Any], message: str
) -> None:
    with pytest.raises(StorageError, match=message):
        import_sweep(destination, edited(file, name, change))
    with pytest.raises(StorageError):
        records(destination)


def test_a_file_that_contradicts_its_manifest_is_refused(file: Path, destination: sqlalchemy.URL) -> None:
    changed = edited(file, "phases.jsonl", _line(lambda line: line.update(reason="x")), sealed=False)
    with pytest.raises(ArchiveBroken, match=r"phases.jsonl \w+: it was changed.*all differences: kd-sweeps verify "):
        import_sweep(destination, changed)


FILES: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "another program's zip": (lambda files: files.clear() or files.update({"word/a.xml": b"x"}), "'word/a.xml'"),
    "a path": (lambda files: files.update({"../../etc/x": b"x"}), r"'../../etc/x', which is not part of an archive"),
    "an absolute path": (lambda files: files.update({"/etc/x": b"x"}), "'/etc/x'"),
    "a path as a blob": (lambda files: files.update({"blobs/../x": b"x"}), "'blobs/../x'"),
    "no manifest": (lambda files: files.pop("manifest.json"), "manifest.json is missing"),
    "no tasks": (lambda files: files.pop("tasks.jsonl"), "tasks.jsonl is missing"),
    "not JSON": (lambda files: files.update({"tasks.jsonl": b"{\n"}), "tasks.jsonl line 1 is not JSON"),
    "deep JSON": (lambda files: files.update({"tasks.jsonl": b"[" * 200_000}), "tasks.jsonl line 1 is not JSON"),
    "not text": (lambda files: files.update({"tasks.jsonl": b"\xff\xfe"}), "tasks.jsonl line 1 is not JSON"),
    "another format": (lambda files: files.update({"manifest.json": b'{"format": "x"}'}), "is not that of a kd-sw"),
    "a newer one": (
        lambda files: files.update({"manifest.json": b'{"format": "kd-sweeps archive", "version": 2}'}),
        "its format is version 2; this kd-sweeps reads version 1: install",
    ),
    "a blob less": (lambda files: files.pop(_blob(files)), r"blob [0-9a-f]{12} of teachers#\w+: it is missing"),
    "another blob": (lambda files: files.update({_blob(files): b"x"}), r"blob \w+ of teachers#\w+: it was changed"),
}


def _blob(files: dict[str, bytes]) -> str:
    return next(name for name in files if name.startswith("blobs/"))


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_not_an_archive_is_refused_in_one_line(
    file: Path, destination: sqlalchemy.URL, case: str
) -> None:
    change, message = FILES[case]
    files = members(file)
    change(files)
    with pytest.raises(ArchiveBroken, match=message) as caught:
        import_sweep(destination, packed(file.with_name("x.kdsweep"), files))
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("x.kdsweep: ") == 1
    assert not Path(str(destination.database)).exists()


def test_a_bomb_is_refused_before_a_byte_is_unpacked(file: Path, destination: sqlalchemy.URL) -> None:
    files = members(file)
    bomb = packed(file.with_name("x.kdsweep"), files | {"tasks.jsonl": b"0" * 10**8}, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**6
    with pytest.raises(ArchiveBroken, match="is compressed"):
        import_sweep(destination, bomb)
    # Many entries with the bytes of one file: a bomb without compression.
    with zipfile.ZipFile(bomb, "w") as file_:
        for name, data in files.items():
            file_.writestr(name, data)
        largest = max(file_.infolist(), key=lambda member: member.file_size)
        for number in range(20):
            entry = zipfile.ZipInfo(f"blobs/{number:064x}")
            entry.header_offset, entry.CRC = largest.header_offset, largest.CRC
            entry.file_size = entry.compress_size = largest.file_size
            file_.filelist.append(entry)
            file_.NameToInfo[entry.filename] = entry
    with pytest.raises(ArchiveBroken, match=r"its members claim \d+ bytes, but the whole file has \d+"):
        import_sweep(destination, bomb)
    packed(bomb, files)
    with zipfile.ZipFile(bomb, "a") as file_, pytest.warns(UserWarning, match="Duplicate name"):
        file_.writestr("tasks.jsonl", b"")
    with pytest.raises(ArchiveBroken, match=r"it contains 'tasks.jsonl' twice"):
        import_sweep(destination, bomb)


def test_a_blob_too_large_for_sqlite_is_refused_before_anything_is_read_or_written(
    file: Path, origin: str, destination: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = max((name for name in members(file) if name.startswith("blobs/")), key=lambda name: len(members(file)[name]))
    size = 10**6
    large = packed(file.with_name("x.kdsweep"), members(file) | {blob: b"x" * size})
    monkeypatch.setattr("sweeps.contrib.archive.file.MOST_BYTES", size - 1)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    for read in (verify, lambda path: import_sweep(destination, path)):
        with pytest.raises(
            ArchiveBroken, match=r"x.kdsweep: 'blobs/\w+' has 1000000 bytes; a member .* at most 999999, t"
        ):
            read(large)
    assert not Path(str(destination.database)).exists()
    monkeypatch.undo()
    monkeypatch.setattr("sweeps.contrib.archive.file.MOST_BYTES", 10)
    with pytest.raises(ArchiveBroken, match=r"has \d+ bytes; a member of an archive may have at most 10, the"):
        archive_sweep(resolve(origin), "s", file.with_name("y.kdsweep"))
    assert not list(file.parent.glob("*y.kdsweep*"))


@pytest.mark.parametrize("path", ["missing.kdsweep", "."])
def test_a_path_that_is_not_a_file_is_refused_in_one_line(
    tmp_path: Path, destination: sqlalchemy.URL, path: str
) -> None:
    with pytest.raises(ArchiveBroken, match=r"no such file; kd-sweeps archive NAME -o NAME\.kdsweep|is a folder; name"):
        import_sweep(destination, tmp_path / path)


@pytest.mark.parametrize("read", [verify, import_sweep])
def test_an_endless_file_is_refused_in_one_line(
    tmp_path: Path, destination: sqlalchemy.URL, read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it would wait for ever
    os.mkfifo(tmp_path / "pipe")
    url = [destination] if read is import_sweep else []
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ArchiveBroken, match=r"is not a regular file; name one that kd-sweeps archive wrote, NAME"):
            read(*url, path)


def _refusal(path: Path, lines: SweepLines) -> str:
    try:
        with open_archive(path) as archive:
            texts = [f"{check.what}: {check.differs}" for check in consistency_checks(archive) if check.differs]
            assert texts or archive.lines == lines
    except ArchiveBroken as error:
        return str(error)
    return "; ".join(texts)


def test_a_cut_or_flipped_file_is_refused_or_holds_the_same(file: Path, destination: sqlalchemy.URL) -> None:
    """Flips in fields without content, such as a member's time, change nothing."""
    whole, draw = file.read_bytes(), random.Random(0)
    with open_archive(file) as archive:
        lines = archive.lines
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        if draw.random() < 0.2:
            del damaged[draw.randrange(len(whole)) :]
        else:
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path = file.with_name("x.kdsweep")
        path.write_bytes(damaged)
        text = _refusal(path, lines)
        assert "\n" not in text
        refused += bool(text)
    assert refused > 100

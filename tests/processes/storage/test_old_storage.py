"""A storage of an older commit is upgraded and read with every number, state and name of that commit.

The storages and the JSON files are described in tests/data/README.md.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from storage.db.upgrade import upgrade
from tests.support.old_storages import COMMITS, DATA, placed, unpack
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.typed_commands import KdSweeps

COMMANDS = {
    "status": ["status", "old"],
    "best": ["best", "old"],
    "trials": ["trials", "old"],
    "report": ["report", "old"],
    "audit": ["status", "old", "--audit"],
}
# Sentences, whose wording may change; their numbers are in other fields, too.
SENTENCES = {"verdict", "paste", "sentence", "caption", "headline"}


_REWEIGHED = ("shares", "fraction")  # of the work, now weighted by the planned tasks


def _has_changed(path: tuple[Any, ...]) -> bool:
    """Return whether the rule or wording of a value has changed since, such as a key of the spec.

    One search could show an optimum above the noise; now it takes several. The interval of `best` needed two seeds; now
    it needs three, as in its text.
    """
    of_best = path[-1] in ("low", "high") and path[0] in ("low", "high", "candidates")
    return path[0] in ("spec", *_REWEIGHED) or path[-1] in ("seeds", "icc", "identified") or of_best


def _moved(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the current path of a value: a search now has the points of both datasets."""
    moved = len(path) == 4 and path[0] == "outer" and path[-1] in ("temperature", "alpha")
    return (*path[:-1], "best", path[-1]) if moved else path


def _as_before(command: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of `best` and `status` in its form before it became that of the service; of others unchanged."""
    if command == "status":
        now = {"others" if name == "idle_workers" else name: value for name, value in values.items()}
        return now | now.pop("fingerprints")
    if command != "best":
        return values
    flat = [
        values["point"] | values["accuracy"] | {"confirmed": values["confirmed"]},
        *(
            candidate["point"] | candidate["accuracy"] | {"rank": candidate["rank"]}
            for candidate in values["candidates"] or ()
        ),
        values["incumbent"] | values["incumbent"]["point"],
    ]
    flat[-1].pop("point")
    common = {name: values[name] for name in ("sweep", "loss", "answer_hash", "recipe", "paste")}
    candidates = {} if values["candidates"] is None else {"candidates": flat[1:-1]}
    return common | flat[0] | candidates | {"search_best": flat[-1]}


def upgraded(kd_sweeps: KdSweeps, folder: Path, version: int) -> str:
    """Return the URL of the older storage after the upgrade."""
    url = f"sqlite:///{unpack(version, folder / 'old.db').database}"
    code, _, err = kd_sweeps("storage", "upgrade", "--storage", url)
    assert code == 0, err
    return url


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Return every number, text, truth value and None of a JSON value, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    elif not (isinstance(value, str) and SENTENCES.intersection(path)):
        yield path, value


def _equal(value: Any, before: Any) -> bool:
    # Another kind of processor rounds the last digits of a fit differently.
    return bool(value == before or (isinstance(before, float) and value == pytest.approx(before, rel=1e-9)))


@pytest.mark.parametrize("version", [2, 3])
def test_every_command_reads_an_old_storage_as_the_old_version_did(
    kd_sweeps: KdSweeps, tmp_path: Path, version: int
) -> None:
    storage = upgraded(kd_sweeps, tmp_path, version)
    for command, words in COMMANDS.items():
        code, out, _ = kd_sweeps(*words, "-f", "json", "--storage", storage)
        assert code == 0
        recorded = json.loads((DATA / COMMITS[version] / "old" / f"{command}.json").read_text())
        before = {_moved(path): value for path, value in _leaves(recorded)}
        leaves = dict(_leaves(_as_before(command, json.loads(out))))
        for path, value in leaves.items():
            if path in before and not _has_changed(path):
                assert _equal(value, before[path]), (command, path)
        assert {path for path in before if not _has_changed(path)} <= leaves.keys(), command
        assert len(before) - sum(map(_has_changed, before)) > 20


@pytest.mark.parametrize(
    ("storage_url", "name"),
    [("sqlite", "old"), ("sqlite", "half"), ("sqlite", "extended"), ("postgres", "extended")],
    indirect=["storage_url"],
)
def test_every_command_prints_a_storage_of_schema_4_unchanged(
    kd_sweeps: KdSweeps, storage_url: str, tmp_path: Path, name: str
) -> None:
    upgrade(placed(4, storage_url, tmp_path))
    for command, (word, _, *options) in COMMANDS.items():
        if command == "audit" and not storage_url.startswith("sqlite"):
            continue  # it also reads Optuna's tables, which are not placed there
        code, out, err = kd_sweeps(word, name, *options, "-f", "json", "--storage", storage_url)
        assert code == 0, err
        recorded = json.loads((DATA / COMMITS[4] / name / f"{command}.json").read_text())
        leaves, before = dict(_leaves(_as_before(command, json.loads(out)))), dict(_leaves(recorded))
        changed = (*_REWEIGHED, "warnings", "notes", "smoke_test")  # an ended attempt without a trial is now a note
        assert all(_equal(leaves.get(path), value) for path, value in before.items() if path[0] not in changed), command
        new = [path for path in leaves.keys() - before.keys() if "recipes" not in path and path[0] not in changed]
        assert not new, command


def test_an_archive_of_schema_4_keeps_its_bytes(kd_sweeps: KdSweeps, storage_url: str, tmp_path: Path) -> None:
    archive = gzip.decompress((DATA / COMMITS[4] / "extended.kdsweep.gz").read_bytes())
    upgrade(placed(4, storage_url, tmp_path))
    storages = [storage_url]
    if storage_url.startswith("sqlite"):  # from Postgres and back: tests/contrib/archive
        (tmp_path / "kept.kdsweep").write_bytes(archive)
        assert kd_sweeps("import", "kept.kdsweep", "--storage", "sqlite:///new.db")[0] == 0
        storages.append("sqlite:///new.db")
    for storage in storages:
        code, _, err = kd_sweeps("archive", "extended", "-o", "again.kdsweep", "--force", "--storage", storage)
        assert code == 0, err
        assert (tmp_path / "again.kdsweep").read_bytes() == archive, storage


def test_work_resumes_in_the_oldest_storage_and_a_deleted_study_is_restored(
    kd_sweeps: KdSweeps, tmp_path: Path
) -> None:
    storage = upgraded(kd_sweeps, tmp_path, 2)
    optuna.delete_study(study_name="old.confirm", storage=storage)
    for command in ("create", "pause", "resume", "reap", "retry"):
        code, _, err = kd_sweeps(command, "old", "--storage", storage)
        assert code == 0, err
    work(created(storage, name="new"), quadratic, name="new")
    for name in ("old", "new"):
        code, out, _ = kd_sweeps("status", name, "--audit", "--storage", storage)
        assert code == 0, out
    code, _, err = kd_sweeps("delete", "old", "--yes", "--storage", storage)
    assert code == 0, err

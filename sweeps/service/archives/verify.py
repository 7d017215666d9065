"""Check an archive: compute what it claims from what it holds, with the code that made the claims.

It shows that a file agrees with itself: whoever edits a score has to edit everything that follows from it, too. That
the scores are those of these trainings shows `replay` alone.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from storage.archive.lines import SweepLines, VerdictClaim
from storage.archive.rows import opened
from storage.archive.zip_file import Archive, open_archive
from storage.audit.checks import Finding
from storage.audit.rows import read_rows
from storage.errors import ArchiveBroken, StorageError
from sweeps.errors import SweepError
from sweeps.plan.audit import alike, judge
from sweeps.service.archives.checks import Check
from sweeps.service.archives.claims import answers, read_stored
from sweeps.service.archives.facts import fact_checks
from sweeps.service.archives.selections import selection_checks
from sweeps.service.archives.trials import trials


def verify(path: Path) -> list[Check]:
    """Return everything that a file claims, and whether it is so.

    Raises:
        storage.errors.ArchiveBroken: the file cannot be read, or is none.
    """
    with open_archive(path) as archive:
        return list(checks(archive))


def checks(archive: Archive) -> Iterator[Check]:
    """Yield the same of an open archive, one by one."""
    for name, sha256 in archive.manifest.files.items():
        found = archive.sha256(name)
        yield Check(f"{name} {sha256[:12]}", "" if found == sha256 else f"it was changed: its SHA-256 is {found[:12]}")
    hashes = {digest: _hash(archive, digest) for digest in archive.digests}
    yield from _blobs(archive.lines, hashes)
    there = {digest: (0, digest) for digest in archive.lines.digests}  # they have lines of their own
    violations: list[Finding] = []
    try:
        with opened(archive.lines) as (engine, sweep):
            rows = read_rows(engine, sweep.id, with_trials=False)
            violations = judge(replace(rows, blobs=there)).violations
            yield from (Check("audit", finding.text) for finding in violations)
            stored = read_stored(engine, sweep)
    except (StorageError, SweepError) as error:  # somebody edited what everything else is computed from
        if not violations:
            yield Check("the lines can be read", str(error))
        return
    try:
        trials(archive.lines.at_rest(), stored.spec)
    except StorageError as error:
        yield Check("its trials can be made", str(error))
    if not violations:
        yield Check(f"audit: {len(rows.tasks)} tasks as planned, each with one result or none")
    yield from selection_checks(stored, archive.lines)
    yield from fact_checks(stored, {digest: size for digest, (size, _) in hashes.items()})
    yield from _answers(archive)


def _hash(archive: Archive, digest: str) -> tuple[int, str]:
    try:
        data = archive.blob(digest)
    except ArchiveBroken:  # its bytes are not even what the zip says of them
        return 0, "unreadable"
    return len(data), hashlib.sha256(data).hexdigest()


def _blobs(lines: SweepLines, hashes: dict[str, tuple[int, str]]) -> Iterator[Check]:
    for digest, key in lines.digests.items():
        what = f"blob {digest[:12]} of {key}"
        if digest not in hashes:
            yield Check(what, "it is missing")
        elif hashes[digest][1] != digest:
            yield Check(what, f"it was changed: its SHA-256 is {hashes[digest][1][:12]}")
        else:
            yield Check(what)
    for digest in sorted(hashes.keys() - lines.digests.keys()):
        yield Check(f"blob {digest[:12]}", "no task names it")


def _answers(archive: Archive) -> Iterator[Check]:
    claimed = archive.manifest
    try:
        found, verdicts = answers(archive.lines)
    except (StorageError, SweepError) as error:  # such as a selection that is none any more
        yield Check("verdicts and answer hash can be computed", str(error))
        return
    by_dataset = {one.dataset: one for one in verdicts}
    for claim in claimed.verdicts:
        one = by_dataset.pop(claim.dataset, None)
        differs = "" if one is not None and _same(claim, one) else f"the scores give {_said(one)}"
        yield Check(f"verdict on {claim.dataset}: {_said(claim)}", differs)
    for one in by_dataset.values():
        yield Check(f"verdict on {one.dataset}", f"the file claims none, the scores give {_said(one)}")
    differs = "" if found == claimed.answer_hash else f"the tasks give {found or 'none, since they have not ended'}"
    yield Check(f"answer hash {claimed.answer_hash or 'none: not ended yet'}", differs)


def _same(claim: VerdictClaim, found: VerdictClaim) -> bool:
    pairs = ((claim.regret, found.regret), (claim.low, found.low), (claim.high, found.high))
    return claim.word == found.word and all(alike(one, other) for one, other in pairs)


def _said(one: VerdictClaim | None) -> str:
    if one is None or one.word is None or one.regret is None:
        return "none yet"
    interval = "" if one.low is None or one.high is None else f" [{one.low:+.2f}, {one.high:+.2f}]"
    return f"{one.word}, regret {one.regret:+.2f}{interval} points"

"""Archive and import a sweep with its trials."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote

import sqlalchemy

from storage.db.engine import create_lock
from storage.errors import ArchiveBroken, StorageError
from storage.failpoints import failpoint
from storage.records import artifacts, queries
from storage.studies import ownership, space
from sweeps.contrib.archive.file import Archive, open_archive, write
from sweeps.contrib.archive.lines import AttemptLine, SweepLines, name_conflict, read_lines, write_lines
from sweeps.contrib.archive.verify import answers, consistency_checks, trials_of
from sweeps.errors import SweepError
from sweeps.extensions import is_installed, require
from sweeps.hints import local
from sweeps.plan import phases, plan, trials
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import check_name
from sweeps.terminal import number_of
from sweeps.usecases import create, files


@dataclass(frozen=True)
class Archived:
    """A summary of a file. counts: such as "57 tasks". size: bytes. answer_hash: None while the sweep is unfinished."""

    sweep: str
    counts: tuple[str, ...]
    size: int
    answer_hash: str | None


def archive_sweep(url: sqlalchemy.URL, name: str, path: Path, *, force: bool = False) -> Archived:
    """Pack a sweep and all its results into one file. The same content gives the same bytes."""
    files.check_target(path, force=force, suffix=".kdsweep")
    with open_sweep(url, name) as (engine, sweep):
        if is_installed("train"):
            with contextlib.suppress(StorageError):  # its study was deleted, or this user may only read
                trials.complete(engine, sweep)
        lines = read_lines(engine, sweep.id)
        answer_hash, claims = answers(lines)
        try:
            write(path, lines, partial(artifacts.get, engine), answer_hash=answer_hash, verdicts=claims)
        except OSError as error:
            raise SweepError(f"cannot write {path}: {error.strerror or error}") from error
    return Archived(name, _counts(lines), path.stat().st_size, answer_hash)


def import_sweep(url: sqlalchemy.URL, path: Path, *, name: str | None = None) -> Archived:
    """Import an archived sweep into a storage, under its own or another name, and create its studies again.

    Its row is the commit point, as in `create`: an import that is killed earlier leaves no sweep, and the next one
    replaces the studies that it left. Running tasks are queued again.

    Raises:
        ArchiveBroken: `verify` finds a difference.
        SpecConflict: a sweep, or a study of another tool, has the name.
        MissingExtra: the packages that make its plan are missing.
    """
    require("train", "import")
    with open_archive(path) as archive:
        _refuse_differing(archive, path)
        lines, claimed = archive.lines.at_rest(), archive.manifest.answer_hash
        name = check_name(lines.sweep.name if name is None else name)
        spec = parse(lines.sweep.spec, origin=str(path))
        _write(url, name, spec, trials_of(lines, spec), _renamed(lines, name), archive)
    if claimed is not None:
        from sweeps.usecases.run import publish  # slow to import, as in `_write`: it draws figures

        publish(url, name)
    return Archived(name, _counts(lines), path.stat().st_size, claimed)


def _counts(lines: SweepLines) -> tuple[str, ...]:
    kinds = "task", "attempt", "selection", "worker"
    return (*(number_of(len(lines.of(f"{kind}s")), kind) for kind in kinds), number_of(len(lines.digests), "blob"))


def _write(
    url: sqlalchemy.URL,
    name: str,
    spec: Spec,
    made: Mapping[str, list[space.Trial]],
    lines: SweepLines,
    archive: Archive,
) -> None:
    from storage.studies.studies import open_studies  # Optuna takes a second, which a refused file need not wait

    with create_lock(url), contextlib.closing(open_studies(url, create=True)) as studies:
        stages = plan.make_plan(spec).stages
        owner = create.prepare_tables(studies, name, stages)
        if queries.is_sweep(studies.engine, name):
            raise name_conflict(url, name)
        create.make_studies(studies, owner, spec, stages)
        for stage in stages:
            studies.add(space.study_name(name, stage), made[stage])
        failpoint("import-studies")
        stored = {digest: partial(archive.blob, digest) for digest in lines.digests}
        write_lines(studies.engine, lines, name=name, identity=owner.identity, blobs=stored)
        ownership.free(studies.engine, owner.identity)
        failpoint("import-done")


def _refuse_differing(archive: Archive, path: Path) -> None:
    # Otherwise the fault would surface later, when the sweep is read.
    for check in consistency_checks(archive):
        if check.differs:
            all_ = local().line("verify", quote(str(path)))
            raise ArchiveBroken(f"{path}: {check.what}: {check.differs}; all differences: {all_}")


def _renamed(lines: SweepLines, name: str) -> SweepLines:
    # The names of the studies contain the name of the sweep.
    studies = {space.study_name(lines.sweep.name, stage): space.study_name(name, stage) for stage in phases.STAGES}

    def moved(attempt: AttemptLine) -> AttemptLine:
        study = attempt.study
        return attempt if study is None else attempt.model_copy(update={"study": studies.get(study, study)})

    sweep = lines.sweep.model_copy(update={"name": name})
    return replace(lines, sweep=sweep, attempts=list(map(moved, lines.attempts)))

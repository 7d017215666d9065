"""`Findings`, the results of a sweep as one frozen value, and `load`.

Pure Python, so that `report` prints in a fraction of a second. `secondary` answers further questions with SciPy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Any, cast

import sqlalchemy
from pydantic import Field, PlainSerializer, PlainValidator

from storage.records import queries
from storage.tables import SweepRecord
from sweeps.errors import NoResultsYet
from sweeps.findings import load as stored_sweeps
from sweeps.findings.choices import RoleChoice, choices
from sweeps.findings.load import Look, Provenance, StoredSweep, Training, contrast, validations
from sweeps.findings.rows import Control, Difference, Row, controls, differences, rows
from sweeps.findings.surfaces import Surface, confirmed_points, surfaces
from sweeps.findings.verdicts import RepeatRegrets, TargetVerdict, outer, verdicts
from sweeps.hints import local
from sweeps.plan import jobs, selection
from sweeps.plan.identity import answer_hash
from sweeps.spec.model import Spec, parse
from sweeps.stats.estimates import Paired


def _spec(value: object) -> Spec:
    # Over a network it comes as plain values: only their kind tells the trainer's class.
    return value if isinstance(value, Spec) else parse(cast(Mapping[str, Any], value), origin="findings").as_called()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of a sweep so far.

    name, fingerprint, revision, spec: of the sweep. verdicts: one per target; the first answers the primary question.
    choices: the advice for each target or, without targets, for the source; empty before rule 3 of the verdict.
    surfaces: of the source, then of each target. confirmed: by role. looks: those begun. trainings: those that compare
    the arms, planned ones included; searched: those of earlier phases, likewise. answer_hash: None until every task has
    ended. own: results of the trainer, read only by its own part of the report.
    """

    name: str
    fingerprint: str
    revision: int
    spec: Annotated[Spec, PlainValidator(_spec), PlainSerializer(Spec.as_dict)]
    verdicts: tuple[TargetVerdict, ...]
    surfaces: tuple[Surface, ...]
    confirmed: Mapping[str, selection.Confirmed]
    looks: tuple[Look, ...]
    trainings: tuple[Training, ...]
    searched: tuple[jobs.Job[jobs.SearchTask | jobs.ConfirmTask | jobs.RecipeTask, jobs.StudentOutcome | None], ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    controls: tuple[Control, ...]
    outer: tuple[RepeatRegrets, ...]
    provenance: Provenance
    answer_hash: str | None
    own: Mapping[str, Any] = field(default_factory=dict)
    choices: Annotated[tuple[RoleChoice, ...], Field(exclude_if=lambda choices: not choices)] = ()

    @property
    def finished(self) -> bool:
        return all(row.status == "done" for row in self.rows)

    @property
    def report_roles(self) -> tuple[str, ...]:
        """The roles in the order of a report: the targets, then the source."""
        return (*self.spec.targets, "source")

    def better_default(self, role: str) -> str | None:
        """Return the untuned default with the better validation score; None before one was trained there.

        A choice by test score would pick the luckier one.
        """
        scores = {arm: validations(self, role, arm) for arm in self.spec.kind.features.defaults}
        return max((arm for arm in scores if scores[arm]), key=lambda arm: fmean(scores[arm]), default=None)

    def beyond_default(self, role: str, arm: str = "best") -> Paired | None:
        """Return an arm minus that default in displayed test scores; None if either is missing so far."""
        default = self.better_default(role)
        return None if default is None else self.between(role, arm, default)

    def between(self, role: str, first: str, second: str) -> Paired | None:
        """Return first - second in displayed test scores; None if either is missing so far."""
        return contrast(self, role, first, second)

    def gain(self, role: str) -> Paired | None:
        """Return best minus the untreated arm on the dataset of a role; None if either is missing so far."""
        return self.between(role, "best", self.spec.untreated_arm(role))


def findings(stored: StoredSweep) -> Findings:
    """Compute the findings of a sweep with at least one finished task."""
    confirmed, provenance = confirmed_points(stored), stored_sweeps.provenance(stored)
    return Findings(
        name=stored.sweep.name,
        fingerprint=stored.sweep.fingerprint,
        revision=stored.sweep.revision,
        spec=stored.spec,
        verdicts=verdicts(stored),
        surfaces=surfaces(stored, confirmed),
        confirmed=confirmed,
        looks=stored.looks,
        trainings=stored.trainings,
        searched=stored.searched,
        rows=rows(stored),
        differences=differences(stored),
        controls=controls(stored),
        outer=tuple(outer(stored, role) for role in stored.spec.targets),
        provenance=provenance,
        answer_hash=answer_hash(stored.rows),
        own=stored.spec.kind.own_findings(stored, provenance),
        choices=choices(stored, confirmed),
    )


def load(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Findings:
    """Return the findings of a sweep; raise NoResultsYet before its first task is done."""
    stored = stored_sweeps.read(engine, sweep)
    if stored.done:
        return findings(stored)
    running, left = len(queries.running_tasks(engine, sweep.id)), queries.outlook(engine, sweep.id)
    if left.unended:
        step = f"continue with: {local().line('launch', sweep.name)}"
    elif left.state == "cancelled":
        step = f"to resume: {local().line('resume', sweep.name)}"
    else:
        step = f"to retry: {local().retry_and_launch(sweep.name)}"
    raise NoResultsYet(
        f"nothing of {sweep.name} has finished yet ({running} tasks running, {len(stored.jobs)} planned); {step}"
    )

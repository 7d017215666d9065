"""What a sweep says, as one frozen value: `Findings`, and `load`.

Pure Python: `report` prints it in a fraction of a second. The secondary questions need scipy and are asked of this
value by `secondary`.
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
    # What came over a network is plain values: its trainer's class is known only once its kind is read.
    return value if isinstance(value, Spec) else parse(cast(Mapping[str, Any], value), origin="findings").as_called()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a sweep found, as far as it has come.

    name, fingerprint, revision, spec: of the sweep. verdicts: one for each target, the first answers the primary
    question. choices: what to use on each target or, with one dataset, there; none before rule 3 of the verdict.
    surfaces: of the source, then of each target. confirmed: by role. looks: those begun so far. trainings: those that
    compare the arms, planned ones included; searched: those of every phase before, likewise.
    answer_hash: None until every task has ended. own: what its trainer adds; only its own part of a report reads it.
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
        """The roles in the order of a report: the targets, which the question is about, then the source."""
        return (*self.spec.targets, "source")

    def better_default(self, role: str) -> str | None:
        """Return the untuned default that is better on a dataset, by validation; None before one was trained there.

        Chosen by test, it would be the luckier one.
        """
        scores = {arm: validations(self.spec, self.trainings, role, arm) for arm in self.spec.kind.features.defaults}
        return max((arm for arm in scores if scores[arm]), key=lambda arm: fmean(scores[arm]), default=None)

    def beyond_default(self, role: str, arm: str = "best") -> Paired | None:
        """Return an arm less that default, on the test as it is shown; None where there is none, or not yet."""
        default = self.better_default(role)
        return None if default is None else self.between(role, arm, default)

    def between(self, role: str, first: str, second: str) -> Paired | None:
        """Return first - second of any two arms on a dataset; None where one is missing, or not yet."""
        return contrast(self.spec, self.trainings, role, first, second)

    def gain(self, role: str) -> Paired | None:
        """Return what the teacher gains on the dataset of a role: best less the arm without a teacher; or None."""
        return self.between(role, "best", self.spec.untreated_arm(role))


def findings(stored: StoredSweep) -> Findings:
    """Compute the findings of a sweep of which one task at least is done."""
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
    """Return the findings of a sweep; raise NoResultsYet before its first task is done. Reads only."""
    stored = stored_sweeps.read(engine, sweep)
    if not stored.done:
        at_work = len(queries.running_tasks(engine, sweep.id))
        left = queries.outlook(engine, sweep.id)
        again = f"continue with: {local().launch(sweep.name)}"
        if not left.unended:
            again = f"to resume: {local().resume(sweep.name)}"
            if left.state != "cancelled":
                again = f"to retry: {local().retry_and_launch(sweep.name)}"
        raise NoResultsYet(
            f"nothing of {sweep.name} has finished yet ({at_work} tasks running, {len(stored.jobs)} planned); {again}"
        )
    return findings(stored)

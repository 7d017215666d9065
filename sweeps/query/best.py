"""Answer "which T and alpha?": the confirmed point where there is one, else the best search trial, marked as such."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.errors import NoResultsYet
from sweeps.hints import here
from sweeps.plan import selection
from sweeps.plan.outcomes import StudentOutcome, done_tasks
from sweeps.plan.payloads import SearchTask
from sweeps.plan.selection import Candidate
from sweeps.query.bits import bits
from sweeps.query.snippets import snippets
from sweeps.query.status import stage_counts
from sweeps.spec.losses import formula
from sweeps.spec.model import Spec, as_it_stands
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate, shown_fraction
from sweeps.terminal import number_of


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best single trial of the search. score: validation accuracy, a fraction. task: its key."""

    point: Point
    score: float
    task: str
    trial_number: int | None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return self.point.as_dict() | {"score": self.score, "task": self.task, "trial_number": self.trial_number}


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best (T, alpha) of a sweep. loss: its formula; distillation: its name; loss_parameters: those that are fixed.

    recipe: how the sweep trained with this point.
    accuracy: validation, fractions; of the confirmed point its mean over fresh seeds, else that of the single trial.
    Its interval, and those of the candidates, are as they are shown: None of fewer than three seeds, within [0, 1].
    candidates: what was confirmed, None before that. answer_hash: None until every task of the sweep has ended.
    """

    sweep: str
    loss: str
    point: Point
    accuracy: Estimate
    candidates: tuple[Candidate, ...] | None
    incumbent: Incumbent
    answer_hash: str | None
    distillation: str = "kd"
    loss_parameters: Mapping[str, float] = field(default_factory=dict)
    recipe: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether it is the best mean over fresh seeds; else it is the best of single runs."""
        return self.candidates is not None

    @property
    def paste(self) -> dict[str, str]:
        """The point as code, see `sweeps.query.snippets.snippets`."""
        return snippets(self.point, loss=self.distillation, own=self.loss_parameters)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as `best -f json` prints them."""
        chosen = self.point.as_dict() | {"confirmed": self.confirmed} | asdict(self.accuracy)
        if self.candidates is not None:
            chosen["candidates"] = [candidate.as_json() for candidate in self.candidates]
        first = {"sweep": self.sweep, "loss": self.loss}
        return (
            first
            | chosen
            | {
                "search_best": self.incumbent.as_json(),
                "answer_hash": self.answer_hash,
                "recipe": self.recipe,
                "paste": self.paste,
            }
        )


def _shown(candidate: Candidate) -> Candidate:
    return replace(candidate, accuracy=shown_fraction(candidate.accuracy))


def best(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Best:
    """Return the best (T, alpha) of a sweep. Only reads.

    Raises:
        NoResultsYet: no search trial has finished.
        storage.errors.RecordBroken: what is stored of one is damaged.
    """
    # Of all searches, as the dashboard shows them: its best trial is the incumbent, whichever search it belongs to.
    done = done_tasks(queries.task_records(engine, sweep.id, stage="search", state="done"), SearchTask, StudentOutcome)
    if not done:
        counts = stage_counts(engine, sweep.id)
        teachers, trials = counts["teachers"], counts["search"]
        raise NoResultsYet(
            f"no search trial of {sweep.name} has finished (teachers {teachers.done}/{teachers.total},"
            f" search 0/{trials.total}); go on with: {here().launch(sweep.name)}"
        )
    (first,) = selection.rank(done, 1)
    number = next(task.record.trial_number for task in done if task.record.key == first.task)
    incumbent = Incumbent(point=first.point, score=first.score, task=first.task, trial_number=number)
    found = selection.preview(engine, sweep.id, "confirm.best")
    point = first.point if found is None else found.best.point
    return Best(
        sweep=sweep.name,
        loss=formula(sweep.spec["training"].get("distillation", "kd")),
        distillation=sweep.spec["training"].get("distillation", "kd"),
        loss_parameters=sweep.spec["training"].get("loss_parameters", {}),
        point=point,
        accuracy=Estimate(first.score, None, None, 1) if found is None else shown_fraction(found.best.accuracy),
        candidates=None if found is None else tuple(map(_shown, found.candidates)),
        incumbent=incumbent,
        answer_hash=bits(engine, sweep).answer_hash,
        recipe=_recipe(as_it_stands(sweep), point),
    )


def _recipe(spec: Spec, point: Point) -> str:
    tuned = dict(point.more)
    training = spec.training.model_copy(
        update={name: tuned[name] for name in ("learning_rate", "batch_size") if name in tuned}
    )
    epochs = number_of(int(tuned.get("epochs", spec.source.epochs)), "epoch")
    return f"Adam, {training.rate()}, batches of {training.batch_size}, {epochs}"

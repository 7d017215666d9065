"""Points: the space of a search, the same points in any order of finishing, every arm inside the transfer space."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.errors import RecordBroken
from storage.queue import tasks
from storage.queue.tasks import Ending
from storage.records import queries
from storage.studies.sampler import importances
from storage.studies.space import Categorical, Range, Whole, check_params
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.distill.arms import trained_with
from sweeps.distill.presets import on
from sweeps.distill.space import FIXED_POINTS, search_space, untuned
from sweeps.plan.jobs import AnyJob, StudentOutcome, read_job
from sweeps.plan.plan import sobol_points
from sweeps.plan.points import resolve_point, space_of
from sweeps.spec.model import Spec, override
from sweeps.spec.tables import SAMPLERS
from sweeps.trainers.protocol import Point
from sweeps.usecases.create import create_sweep
from tests.support.sweeps.planted_sweeps import done_of, worked
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL
from tests.support.sweeps.task_records import task_record

pytestmark = pytest.mark.usefixtures("in_memory")

WIDE = override(
    before("tiny"), {"search.space": {"learning_rate": [0.001, 0.01], "epochs": [3, 12], "batch_size": [16, 100]}}
)


def test_t_and_alpha_come_first_then_the_other_parameters_by_name() -> None:
    space = search_space(WIDE)
    assert list(space) == ["temperature", "alpha", "batch_size", "epochs", "learning_rate"]
    assert space["batch_size"] == Categorical(
        (16, 32, 64)
    )  # each batch size is compiled, so only powers of two times the lowest
    assert space["epochs"] == Whole(3, 12)
    assert space["learning_rate"] == Range(0.001, 0.01, log=True)


def test_sobol_points_fill_every_range_evenly() -> None:
    points = sobol_points(WIDE, 64)
    assert all(check_params(search_space(WIDE), point.as_dict()) is None for point in points)
    further_params = [point.as_json()["more"] for point in points]
    # A Sobol sequence puts exactly half of its points into each half of every axis.
    assert (
        sum(point["temperature"] < 20**0.5 for point in points) == sum(point["alpha"] < 0.5 for point in points) == 32
    )
    assert sum(values["learning_rate"] < 0.001 * 10**0.5 for values in further_params) == 32
    assert points != sobol_points(override(WIDE, {"seed": 1}), 64)
    sizes = Counter(values["batch_size"] for values in further_params)
    assert set(sizes) == {16, 32, 64}
    assert max(sizes.values()) - min(sizes.values()) <= 2
    assert {values["epochs"] for values in further_params} == set(range(3, 13))


def test_every_arm_is_inside_the_space_of_transfer() -> None:
    space = {name: bounds for name, bounds in space_of(WIDE, "transfer").items() if name not in ("arm", "dataset")}
    for role in WIDE.roles:
        for point in (*FIXED_POINTS.values(), *sobol_points(WIDE, 8)):
            check_params(space, untuned(WIDE, role) | point.as_dict())


def test_an_arm_has_only_the_parameters_of_its_training() -> None:
    searched_for = {"gamma": 1.5, "epochs": 5, "batch_size": 32}
    names = {arm: set(trained_with(searched_for, arm)) for arm in ("", "best", "default-keras", "autokeras")}
    assert names[""] == names["best"] == {"gamma", "epochs", "batch_size"}
    assert names["default-keras"] == {"epochs", "batch_size"}
    assert names["autokeras"] == {"batch_size"}, "its epochs are baselines.autokeras_epochs"


def test_the_planted_parameter_is_the_most_important(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as in a process that has opened no study
    space = search_space(WIDE)
    points = [point.as_dict() for point in sobol_points(WIDE, 16)]
    past = [queries.Past(point, float(point["learning_rate"]) * 100 + 0.01 * float(point["alpha"])) for point in points]
    shares = importances(space, past)
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == importances(space, past)
    assert capfd.readouterr() == ("", "")


def test_point_at_takes_a_share_of_each_range() -> None:
    space = search_space(WIDE)
    lowest = {"temperature": 1.0, "alpha": 0.0, "batch_size": 16, "epochs": 3, "learning_rate": 0.001}
    assert Point.at(space, [0.0] * 5).as_dict() == lowest
    assert (Whole(3, 12).at(0.0), Whole(3, 12).at(0.999999)) == (3, 12), "whole numbers reach both ends"


TRIALS = 14
TINY = override(before("tiny"), {"search.trials": TRIALS, "search.lag": 3, "baselines.methods": []})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    database = open_engine(resolve(f"sqlite:///{tmp_path}/s.db"), must_exist=False)
    yield database
    database.dispose()


def searched(
    engine: Engine, name: str, spec: Spec, *, workers: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return point and score of every trial; `workers` tasks run at once, end in random order and sometimes fail."""
    create_sweep(engine.url, name, spec)
    sweep, luck = queries.find_sweep(engine, name).id, random.Random(seed)
    known = queries.PhasePoints(engine, sweep)
    at_work: list[tuple[AnyJob, dict[str, float]]] = []
    while True:
        claim = tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=600) if len(at_work) < workers else None
        if claim is not None and claim.stage == "confirm":
            break  # the search has ended
        if claim is not None:
            job = read_job(claim)
            params = resolve_point(engine, spec, job, luck.choice((known, None)))
            tasks.save_point(engine, claim, params)
            at_work.append((job, params))
            continue
        job, params = at_work.pop(luck.randrange(len(at_work)))
        if luck.random() < 0.2 and job.row.attempt == 1:
            tasks.end(engine, job.row, Ending("failed", "error", "luck"), cap=2)
            continue
        outcome = quadratic(job, params, lambda: None)
        assert tasks.finish(engine, job.row, outcome=outcome.values.as_json(), score=outcome.score)
    done = queries.task_records(engine, sweep, phase="search", state="done")
    return {
        record.key: (record.params["temperature"], record.params["alpha"], record.score or 0.0)
        for record in done
        if record.params
    }


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_a_search_has_the_same_points_in_any_order_of_finishing(engine: Engine, sampler: str) -> None:
    spec = override(TINY, {"search.sampler": sampler, "search.trials": TRIALS if sampler == "tpe" else 6})
    alone = searched(engine, "alone", spec, workers=1, seed=0)
    assert len(alone) == spec.search.trials == len({point[:2] for point in alone.values()})
    assert searched(engine, "together", spec, workers=8, seed=1) == alone
    if sampler == "tpe":  # TPE learns from what ended before the lag, and from nothing else
        far = searched(engine, "far", override(spec, {"search.lag": TRIALS}), workers=1, seed=0)
        first = [f"search#{number}" for number in range(TRIALS // 2)]
        assert [alone[key] for key in first] == [far[key] for key in first], "the Sobol half is the same"
        assert alone != far


def test_a_further_search_confirms_the_points_of_its_own_rounds(tmp_path: Path) -> None:
    rounds = {"confirm.rounds": [[2, 1], [1, 1]], "outer.rounds": [[3, 1], [2, 2]]}
    small = {"search.trials": 4, "search.sampler": "qmc", "outer.searches": 2, "baselines.methods": []}
    url = worked(f"sqlite:///{tmp_path}/s.db", override(on(SMALL, alone=True), rounds | small), stop_at="transfer")
    for group, sizes in (("", (2, 1)), ("@t0s1", (3, 2))):
        ranked = sorted(done_of(url, f"search{group}"), key=lambda task: -(task.score or 0))
        for name, size in zip((f"confirm:1{group}", f"confirm{group}"), sizes, strict=True):
            repeats = Counter(_place(task) for task in done_of(url, name))
            assert set(repeats) == {_place(task) for task in ranked[:size]}, name
            assert len(set(repeats.values())) == 1, "each point with every seed of the round"


def test_a_confirm_task_with_an_edited_repeat_gives_an_error_that_names_it(engine: Engine) -> None:
    payload = {"role": "source", "seed": 4, "ranks": "search.ranks", "rank": 0, "repeat": 7}
    claim = read_job(task_record("confirm#0.0", stage="confirm", payload=payload, state="running"))
    with pytest.raises(RecordBroken, match=r"payload of confirm#0\.0 was edited: repeat is 7; the spec plans fewer"):
        resolve_point(engine, SMALL, claim)


def _place(task: TaskRecord) -> tuple[float, ...]:
    assert task.params
    return tuple(task.params.values())


@pytest.mark.parametrize(
    "values",
    [{"temperature": 5, "alpha": 0.5}, {"temperature": 2.0, "alpha": 1.5}, {"temperature": -1.0, "alpha": 0.5}],
)
def test_other_meanings_of_temperature_and_alpha_are_stored_unchanged(
    values: dict[str, int | float],
) -> None:
    stored = Point.of(values).as_json()
    assert stored == {"more": values}
    copy = Point.read(json.loads(json.dumps(stored))).as_dict()
    assert [(name, type(value), value) for name, value in copy.items()] == [
        (name, type(value), value) for name, value in values.items()
    ]
    outcome = StudentOutcome.model_validate(stored | {"val_accuracy": 0.5, "parameters": 0, "train_s": 0, "cpu_s": 0})
    assert outcome.point.as_dict() == values


class _Readings(queries.PhasePoints):
    """Return one reading after another, then the last one forever."""

    def __init__(self, *readings: list[queries.TaskPoint]) -> None:
        self.readings = list(readings)

    def until(self, phase: str, task_id: int) -> list[queries.TaskPoint]:
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


@pytest.mark.parametrize("saved_at_last", [True, False])
def test_a_proposal_waits_for_the_points_before_it_but_not_for_a_dead_worker(
    saved_at_last: bool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.plan.points._PATIENCE_S", 60.0 if saved_at_last else 0.1)
    spec = override(SMALL, {"search.sampler": "tpe", "search.lag": 8})
    payload = {"role": "source", "seed": 1, "sampler_seed": 3}
    first = queries.TaskPoint(None, None, id=1, key="search#0", state="running", payload=payload)
    mine = queries.TaskPoint(None, None, id=2, key="search#1", state="running", payload=payload | {"sampler_seed": 4})
    saved = queries.TaskPoint(
        {"temperature": 2.0, "alpha": 0.25}, None, id=1, key="search#0", state="running", payload=None
    )
    readings = _Readings([first, mine], [first, mine], [saved, mine] if saved_at_last else [first, mine])
    claim = read_job(task_record("search#1", stage="search", payload=mine.payload or {}, state="running"))
    began = time.monotonic()
    point = resolve_point(engine, spec, claim, readings)
    assert len(readings.readings) == 1, "it reads until the point is saved or patience ends"
    assert (time.monotonic() - began < 60.0) if saved_at_last else (time.monotonic() - began >= 0.1)
    check_params(search_space(spec), point)

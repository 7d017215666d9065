"""Points never depend on who finishes first: the same search in every order of finishing, on both databases."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.errors import RecordBroken
from storage.queue import tasks
from storage.queue.tasks import Claim
from storage.records import queries
from storage.records.queries import TaskRecord
from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.plan.points import resolve_point
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from sweeps.spec.tables import SAMPLERS
from sweeps.usecases.create import create_sweep
from tests.support.sweeps.planted_sweeps import done_of, worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL

TRIALS = 14
TINY = override(preset("tiny"), {"search.trials": TRIALS, "search.lag": 3, "baselines.methods": []})


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    made = open_engine(resolve(storage_url), must_exist=False)
    yield made
    made.dispose()


def searched(
    engine: Engine, name: str, spec: Spec, *, workers: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Point and score of every trial, when `workers` work at once and end in a random order; some fail at first."""
    create_sweep(engine.url, name, spec)
    sweep, luck = queries.find_sweep(engine, name).id, random.Random(seed)
    at_work: list[tuple[Claim, dict[str, float]]] = []
    while True:
        claim = tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=600) if len(at_work) < workers else None
        if claim is not None and claim.stage == "confirm":
            break  # the search has ended
        if claim is not None:
            params = resolve_point(engine, spec, claim)
            tasks.save_trial(engine, claim, study="none", number=claim.task_id, params=params)
            at_work.append((claim, params))
            continue
        claim, params = at_work.pop(luck.randrange(len(at_work)))
        if luck.random() < 0.2 and claim.attempt == 1:
            tasks.fail(engine, claim, error_class="error", reason="luck", cap=2)
            continue
        outcome = quadratic(claim, params, lambda: None)
        assert tasks.finish(engine, claim, outcome=outcome.values.as_json(), score=outcome.score)
    done = queries.task_records(engine, sweep, phase="search", state="done")
    return {one.key: (one.params["temperature"], one.params["alpha"], one.score or 0.0) for one in done if one.params}


@pytest.mark.parametrize("sampler", [one for one in SAMPLERS if one != "gp"])
def test_a_search_has_the_same_points_whatever_ends_first(engine: Engine, sampler: str) -> None:
    spec = override(TINY, {"search.sampler": sampler})
    alone = searched(engine, "alone", spec, workers=1, seed=0)
    assert len(alone) == TRIALS == len({point[:2] for point in alone.values()})
    for number, workers in enumerate((2, 8), start=1):
        assert searched(engine, f"w{workers}", spec, workers=workers, seed=number) == alone


def test_tpe_learns_from_what_has_ended_before_the_lag_and_from_nothing_else(engine: Engine) -> None:
    near = searched(engine, "near", override(TINY, {"search.sampler": "tpe", "search.lag": 1}), workers=1, seed=0)
    far = searched(engine, "far", override(TINY, {"search.sampler": "tpe", "search.lag": TRIALS}), workers=1, seed=0)
    first = [f"search#{number}" for number in range(TRIALS // 2)]
    assert [near[key] for key in first] == [far[key] for key in first], "the Sobol half is the same"
    assert near != far


def test_a_further_search_confirms_as_many_points_as_its_own_rounds_say(storage_url: str) -> None:
    rounds = {"confirm.rounds": [[2, 1], [1, 1]], "outer.rounds": [[4, 1], [3, 2]]}
    spec = override(SMALL, rounds | {"search.trials": 6, "search.sampler": "qmc", "outer.searches": 2})
    url = worked(storage_url, spec, quadratic)
    for group, sizes in (("", (2, 1)), ("@t0s1", (4, 3))):
        ranked = sorted(done_of(url, f"search{group}"), key=lambda task: -(task.score or 0))
        for name, size in zip((f"confirm:1{group}", f"confirm{group}"), sizes, strict=True):
            repeats = Counter(_place(task) for task in done_of(url, name))
            assert set(repeats) == {_place(task) for task in ranked[:size]}, name
            assert len(set(repeats.values())) == 1, "each of them with every seed of the round"


def test_a_confirm_task_whose_repeat_was_edited_is_one_line_that_names_it(storage_url: str) -> None:
    url = worked(storage_url, SMALL, quadratic, stop_at="confirm#0.0")
    with open_sweep(url, "s") as (engine, sweep):
        (task,) = (one for one in queries.task_records(engine, sweep.id) if one.key == "confirm#0.0")
        claim = Claim(
            sweep_id=sweep.id,
            task_id=task.id,
            key=task.key,
            stage=task.stage,
            phase=task.phase,
            payload={**task.payload, "repeat": 7},
            attempt=1,
            params=None,
            retry_of=None,
        )
        with pytest.raises(
            RecordBroken, match=r"payload of confirm#0\.0 was edited: repeat is 7; the spec plans fewer"
        ):
            resolve_point(engine, SMALL, claim)


def _place(task: TaskRecord) -> tuple[float, ...]:
    assert task.params
    return tuple(task.params.values())

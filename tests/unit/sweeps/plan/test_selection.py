"""Ranks and best: deterministic, by the mean over new seeds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from storage.errors import RecordBroken
from storage.records import artifacts, queries
from sweeps.errors import SweepError
from sweeps.plan.jobs import ConfirmTask, Job, SearchTask, StudentOutcome
from sweeps.plan.phases import Phase
from sweeps.plan.selection import (
    Candidate,
    Confirm,
    Ranked,
    Search,
    best,
    confirmed_for,
    preview,
    rank,
    read_confirmed,
    resolve_best,
    resolve_ranks,
    survivors,
)
from sweeps.stats.estimates import Estimate
from tests.support.points import at
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep
from tests.support.sweeps.task_records import task_record

LAST = Phase.confirm("source")


def _outcome(score: float, temperature: float) -> StudentOutcome:
    values = {"val_accuracy": score, "parameters": 1, "train_s": 1.0, "cpu_s": 1.0}
    return StudentOutcome(temperature=temperature, alpha=0.5, **values)


def _searched(number: int, score: float, temperature: float | None = None) -> Search:
    payload = SearchTask(role="source", seed=0, sampler_seed=1)
    outcome = _outcome(score, 1.0 + number if temperature is None else temperature)
    return Job(task_record(f"search#{number}", number, score=score), payload, outcome)


def _done(number: int, score: float, *, temperature: float = 1.0, rank: int) -> Confirm:
    payload = ConfirmTask(role="source", seed=number, ranks="search.ranks", rank=rank, repeat=number)
    record = task_record(f"confirm#{number}", number, phase="confirm", score=score)
    return Job(record, payload, _outcome(score, temperature))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    with new_storage(f"sqlite:///{tmp_path}/s.db") as database:
        new_sweep(database)
        yield database


def test_ranks_are_by_score_and_ties_by_the_lowest_task() -> None:
    ranking = rank([_searched(3, 0.9), _searched(1, 0.8), _searched(2, 0.9), _searched(0, 0.95)], top=3)
    assert [ranked.task for ranked in ranking] == ["search#0", "search#2", "search#3"]


def test_a_point_searched_twice_is_ranked_once() -> None:
    ranking = rank([_searched(0, 0.9, 4.0), _searched(1, 0.95, 4.0), _searched(2, 0.8, 7.0)], top=2)
    assert [(ranked.task, ranked.score) for ranked in ranking] == [("search#1", 0.95), ("search#2", 0.8)]


# Two rounds: three points with one new seed, the best two of them with two more. `_again` is a training of round 2,
# whose points are ranked again.
ROUND_1 = {2.0: 0.90, 5.0: 0.93, 9.0: 0.80}


def _again(repeat: int, rank: int, temperature: float, score: float) -> Confirm:
    payload = ConfirmTask(role="source", seed=repeat, ranks="confirm.ranks:1", rank=rank, repeat=repeat)
    record = task_record(f"confirm#{rank}.{repeat}", 100 + 10 * repeat + rank, phase="confirm", score=score)
    return Job(record, payload, _outcome(score, temperature))


def _first(rank: int, temperature: float, score: float) -> Confirm:
    payload = ConfirmTask(role="source", seed=0, ranks="search.ranks", rank=rank, repeat=0)
    record = task_record(f"confirm#{rank}.0", rank, phase="confirm:1", score=score)
    return Job(record, payload, _outcome(score, temperature))


def _two_rounds() -> list[Confirm]:
    first = [_first(rank, *item) for rank, item in enumerate(ROUND_1.items())]
    second = {2.0: (0.95, 0.96), 5.0: (0.91, 0.92)}
    return first + [
        _again(repeat, rank, temperature, scores[repeat - 1])
        for repeat in (1, 2)
        for rank, (temperature, scores) in enumerate(sorted(second.items(), reverse=True))
    ]


def test_a_round_keeps_the_best_means_of_the_rounds_so_far() -> None:
    done = _two_rounds()
    first = confirmed_for(Phase.confirm("source", round=1), done)
    assert [(ranked.point["temperature"], ranked.score) for ranked in survivors(first, 2)] == [(5.0, 0.93), (2.0, 0.90)]
    confirmed = best(confirmed_for(LAST, done))
    assert confirmed.best == Candidate(at(2.0, 0.5), 0, confirmed.best.accuracy)
    assert confirmed.best.accuracy.mean == pytest.approx((0.90 + 0.95 + 0.96) / 3)
    assert [(candidate.rank, candidate.accuracy.n) for candidate in confirmed.candidates] == [(0, 3), (1, 3), (2, 1)]


def test_a_point_dropped_by_a_round_cannot_win_with_fewer_seeds() -> None:
    lucky = [_first(2, 9.0, 0.99), *(task for task in _two_rounds() if task.outcome.temperature != 9.0)]
    assert best(lucky).best.point["temperature"] == 2.0


def test_a_selection_uses_the_trainings_of_its_own_search() -> None:
    done = _two_rounds()
    for name in ("native.best", "confirm.best@t1s0", "native.confirm.ranks:1"):
        assert confirmed_for(Phase.of_selection(name), done) == []


def test_best_is_the_highest_mean_not_the_highest_run() -> None:
    lucky = [_done(i, score, temperature=2.0, rank=0) for i, score in enumerate([0.99, 0.90, 0.90])]
    steady = [_done(3 + i, score, temperature=5.0, rank=1) for i, score in enumerate([0.95, 0.95, 0.95])]
    confirmed = best(lucky + steady)
    assert confirmed.best.point["temperature"] == 5.0
    assert confirmed.best.accuracy.mean == pytest.approx(0.95)
    assert confirmed.best.accuracy.n == 3
    assert [candidate.rank for candidate in confirmed.candidates] == [0, 1]


def test_a_candidate_that_lost_a_seed_cannot_win() -> None:
    short = [_done(0, 0.99, temperature=2.0, rank=0)]
    whole = [_done(1, 0.90, temperature=5.0, rank=1), _done(2, 0.90, temperature=5.0, rank=1)]
    assert best(short + whole).best.point["temperature"] == 5.0


def test_with_equal_means_the_better_rank_of_the_search_wins() -> None:
    assert best([_done(0, 0.9, temperature=5.0, rank=1), _done(1, 0.9, temperature=2.0, rank=0)]).best.rank == 0


def _raced(repeat: int, score: float, *, temperature: float = 3.0, rank: int = 3) -> Confirm:
    """Return a training of the untuned default, in the first round or in the second."""
    ranks, phase = ("search.ranks", "confirm:1") if repeat == 0 else ("confirm.ranks:1", "confirm")
    payload = ConfirmTask(
        role="source", seed=repeat, ranks=ranks, rank=rank if repeat == 0 else 2, repeat=repeat, arm="default-keras"
    )
    record = task_record(f"confirm#{payload.rank}.{repeat}", 200 + repeat, phase=phase, score=score)
    return Job(record, payload, _outcome(score, temperature))


def test_the_default_displaces_no_tuned_point_and_can_win_by_its_mean() -> None:
    raced = [_raced(0, 0.99), _raced(1, 0.92), _raced(2, 0.94)]
    done = [*_two_rounds(), *raced]
    first = confirmed_for(Phase.confirm("source", round=1), done)
    assert [ranked.point["temperature"] for ranked in survivors(first, 2)] == [5.0, 2.0]
    confirmed = best(confirmed_for(LAST, done))
    assert (confirmed.best.arm, confirmed.best.rank, confirmed.best.point) == ("default-keras", 3, at(3.0, 0.5))
    assert [candidate.arm for candidate in confirmed.candidates] == ["", "", "", "default-keras"]
    stored = confirmed.as_json()
    assert stored["arm"] == "default-keras"
    assert [candidate.get("arm") for candidate in stored["candidates"]] == [None, None, None, "default-keras"]
    assert read_confirmed("confirm.best", stored) == confirmed


def test_a_tuned_point_has_to_be_better_than_the_default() -> None:
    tuned = [_done(0, 0.9, temperature=2.0, rank=0)]
    assert best([*tuned, _raced(0, 0.9)]).best.arm == "default-keras"
    assert best([*tuned, _raced(0, 0.89)]).best.arm == ""


def test_a_default_that_lost_a_seed_cannot_win_unless_all_else_failed() -> None:
    done = [*_two_rounds(), _raced(0, 0.99), _raced(1, 0.99)]
    assert best(confirmed_for(LAST, done)).best.arm == ""
    alone = [_raced(0, 0.7)]
    assert [ranked.point for ranked in survivors(alone, 2)] == [at(3.0, 0.5)]
    assert best(alone).best.arm == "default-keras"


def test_a_default_that_the_search_chose_is_a_single_candidate() -> None:
    confirmed = best([_done(0, 0.9, temperature=3.0, rank=0), _raced(0, 0.9, rank=1)])
    assert [(candidate.arm, candidate.rank, candidate.accuracy.n) for candidate in confirmed.candidates] == [
        ("default-keras", 0, 1)
    ]


def test_no_finished_confirm_run_is_an_error() -> None:
    with pytest.raises(SweepError, match="no confirm run has finished"):
        best([])


STORED = {
    "temperature": 5.0, "alpha": 0.5, "rank": 1, "mean": 0.9, "low": 0.8, "high": 1.0, "n": 2,
    "candidates": [{"temperature": 5.0, "alpha": 0.5, "rank": 1, "mean": 0.9, "low": 0.8, "high": 1.0, "n": 2}],
}  # fmt: skip


def test_a_stored_selection_is_read_back_unchanged(engine: sqlalchemy.Engine) -> None:
    sweep = queries.find_sweep(engine, "s").id
    artifacts.freeze_selection(engine, sweep, "confirm.best", STORED)
    ranks = {"ranks": [{"temperature": 2.0, "alpha": 0.1, "score": 0.9, "task": "search#7"}]}
    artifacts.freeze_selection(engine, sweep, "search.ranks", ranks)
    confirmed = resolve_best(engine, sweep, LAST)
    assert confirmed == preview(engine, sweep, LAST)
    assert confirmed.best == Candidate(at(5.0, 0.5), 1, Estimate(0.9, 0.8, 1.0, 2))
    assert confirmed.as_json() == STORED
    assert resolve_ranks(engine, sweep, Phase.search("source"), top=1) == (Ranked(at(2.0, 0.1), 0.9, "search#7"),)


def test_there_is_no_selection_before_its_phase_is_closed(engine: sqlalchemy.Engine) -> None:
    assert preview(engine, queries.find_sweep(engine, "s").id, LAST) is None


def test_a_damaged_selection_gives_an_error_that_names_it(engine: sqlalchemy.Engine) -> None:
    sweep = queries.find_sweep(engine, "s").id
    with pytest.raises(RecordBroken, match=r"selection confirm\.best was edited: 'rank' is missing"):
        read_confirmed("confirm.best", {name: value for name, value in STORED.items() if name != "rank"})
    artifacts.freeze_selection(engine, sweep, "search.ranks", {"ranks": [{"temperature": "warm"}]})
    with pytest.raises(RecordBroken, match=r"selection search\.ranks was edited: could not convert"):
        resolve_ranks(engine, sweep, Phase.search("source"), top=1)

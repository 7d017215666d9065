"""Ranks and best: deterministic, and by the mean over fresh seeds."""

from typing import Any

import pytest

from storage.records.queries import TaskRecord
from sweeps.errors import SweepError
from sweeps.plan.selection import best, rank


def _done(number: int, score: float, *, temperature: float = 1.0, **payload: Any) -> TaskRecord:
    return TaskRecord(
        id=number,
        key=f"search#{number}",
        stage="search",
        phase="search",
        payload=payload,
        state="done",
        attempt=1,
        score=score,
        outcome={"temperature": temperature, "alpha": 0.5},
        reason=None,
        error_class=None,
        started_at=0.0,
        finished_at=1.0,
        params=None,
        trial_number=number,
        study="s",
        worker="w",
    )


def test_ranks_are_by_score_and_the_lowest_task_where_scores_tie() -> None:
    found = rank([_done(3, 0.9), _done(1, 0.8), _done(2, 0.9), _done(0, 0.95)], top=3)
    assert [point["task"] for point in found["ranks"]] == ["search#0", "search#2", "search#3"]


def test_best_is_the_highest_mean_not_the_highest_run() -> None:
    lucky = [_done(i, score, temperature=2.0, rank=0) for i, score in enumerate([0.99, 0.90, 0.90])]
    steady = [_done(3 + i, score, temperature=5.0, rank=1) for i, score in enumerate([0.95, 0.95, 0.95])]
    found = best(lucky + steady)
    assert found["temperature"] == 5.0
    assert found["mean"] == pytest.approx(0.95)
    assert found["n"] == 3
    assert [candidate["rank"] for candidate in found["candidates"]] == [0, 1]


def test_a_candidate_that_lost_a_seed_cannot_win_by_it() -> None:
    short = [_done(0, 0.99, temperature=2.0, rank=0)]
    whole = [_done(1, 0.90, temperature=5.0, rank=1), _done(2, 0.90, temperature=5.0, rank=1)]
    assert best(short + whole)["temperature"] == 5.0


def test_equal_means_go_to_the_better_rank_of_the_search() -> None:
    assert best([_done(0, 0.9, temperature=5.0, rank=1), _done(1, 0.9, temperature=2.0, rank=0)])["rank"] == 0


def test_no_finished_confirm_run_is_said() -> None:
    with pytest.raises(SweepError, match="no confirm run has finished"):
        best([])

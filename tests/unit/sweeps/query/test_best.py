"""Best: marked as unconfirmed until confirm is over, then the best mean over new seeds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import sweeps
from storage.errors import RecordBroken
from sweeps.cli.text import describe_best, untuned_won
from sweeps.distill.presets import preset
from sweeps.distill.snippets import snippets
from sweeps.errors import NoResultsYet
from sweeps.operations.operation import decode, encode, plain
from sweeps.operations.table import BEST
from sweeps.plan.jobs import AnyJob
from sweeps.query.best import Best, best
from sweeps.query.listing import open_sweep, trial_rows
from sweeps.spec.model import override
from sweeps.stats import response
from sweeps.stats.top import Run
from sweeps.workers.runner import Outcome
from tests.support.points import at
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import analysed, done_of, violations, worked
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import changed, quadratic

Until = Callable[[str], sqlalchemy.URL]


@pytest.fixture
def until(tmp_path: Path) -> Until:
    """Work on preset tiny up to the first task whose key begins with the given text."""
    return lambda key: worked(f"sqlite:///{tmp_path}/a.db", before("tiny"), quadratic, stop_at=key)


def _best(url: sqlalchemy.URL) -> Best:
    with open_sweep(url, "s") as (engine, sweep):
        return best(engine, sweep)


def test_best_before_confirm_is_the_unconfirmed_incumbent(until: Until) -> None:
    answer = _best(until("confirm"))
    assert (answer.confirmed, answer.accuracy.n, answer.accuracy.low, answer.candidates) == (False, 1, None, None)
    assert (answer.point, answer.accuracy.mean) == (answer.incumbent.point, answer.incumbent.score)
    assert "UNCONFIRMED" in describe_best(answer)
    assert list(answer.paste) == ["kd", "keras", "pytorch", "timm", "torchdistill", "modelopt", "trl"]


def test_best_after_confirm_is_confirmed_before_the_selection_is_stored(until: Until) -> None:
    url = until("transfer#source")
    answer = _best(url)
    assert (answer.confirmed, answer.accuracy.n) == (True, 2)
    assert answer.candidates is not None
    assert answer.point in [candidate.point for candidate in answer.candidates]
    text = describe_best(answer)
    assert "%, n=2, no interval" in text
    assert f"incumbent    search trial {answer.incumbent.trial_number}: " in text
    assert (answer.accuracy.low, answer.accuracy.high) == (None, None), "like the text, JSON has no interval"
    assert {(candidate.accuracy.low, candidate.accuracy.high) for candidate in answer.candidates} == {(None, None)}
    assert answer.paste == snippets(answer.point, loss="kd", own={})
    recipe = "Adam, constant learning rate 0.004, weights averaged over 20 steps, batches of 32, 4 epochs"
    assert answer.recipe == recipe
    values = sweeps.best("s", storage=str(url))
    assert values == plain(BEST.kind, answer)
    assert list(values) == [
        *("sweep", "loss", "point", "confirmed", "accuracy", "candidates", "incumbent", "answer_hash", "recipe"),
        *("paste", "summary", "smoke_test"),
    ]


def test_the_recipe_has_the_tuned_training_parameters(tmp_path: Path) -> None:
    space = {"search.space": {"learning_rate": [0.001, 0.01], "epochs": [2, 4]}, "training.schedule": "cosine"}
    answer = _best(worked(f"sqlite:///{tmp_path}/a.db", override(before("tiny"), space), quadratic, stop_at="transfer"))
    tuned = answer.point.as_json()["more"]
    rate = f"learning rate {tuned['learning_rate']:g} with cosine decay to 0"
    assert answer.recipe == f"Adam, {rate}, batches of 32, {tuned['epochs']} epochs"


def test_if_the_default_won_the_answer_says_so_and_best_is_trained_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search space excludes the default and the quadratic optimum, which is at T = 4."""
    changes = {"search.temperature": [15.0, 20.0], "outer.searches": 3, "transfer.seeds": 1}
    url = worked(f"sqlite:///{tmp_path}/a.db", override(preset("tiny"), changes), quadratic)
    answer = _best(url)
    assert (answer.untuned, answer.point) == ("Keras' untuned default", at(3.0, 0.5))
    assert answer.candidates is not None
    assert [candidate.arm for candidate in answer.candidates] == ["", "", "default-keras"]
    note = "Keras' untuned default won: no tuned point was better on fresh seeds"
    assert note in describe_best(answer)
    assert untuned_won(replace(answer, untuned="")) == ""
    values = sweeps.best("s", storage=str(url))
    assert values | {"summary": []} == plain(BEST.kind, answer)
    assert decode(BEST.kind, encode(BEST.kind, answer)) == answer
    for role in ("source", "target"):
        (trained,) = [task for task in done_of(url, f"transfer:{role}") if ".best." in task.key]
        assert (trained.params["temperature"], trained.params["alpha"]) == (3.0, 0.5)
    fitted: list[list[Run]] = []
    monkeypatch.setattr(response, "top", fitted.append)
    assert [surface.best for surface in analysed(url).surfaces] == [at(3.0, 0.5)] * 2
    assert [len(runs) for runs in fitted] == [3 * (8 + 2 * 2)] * 2, "the default is outside the search space"
    with open_sweep(url, "s") as (engine, sweep):
        raced = [row for row in trial_rows(engine, sweep) if row.stage == "confirm" and row.arm]
    assert [(row.arm, row.temperature) for row in raced] == [("default-keras", 3.0)] * 3 * 2
    assert violations(url) == []


def test_the_incumbent_is_the_best_trial_of_all_searches_as_in_the_dashboard(tmp_path: Path) -> None:
    spec = override(OVER_SEARCHES, {"outer.trials": 3})

    def lucky(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        return replace(changed(outcome, val_accuracy=0.99), score=0.99) if claim.key == "search@t0s2#1" else outcome

    answer = _best(worked(f"sqlite:///{tmp_path}/a.db", spec, lucky, stop_at="transfer"))
    assert (answer.incumbent.task, answer.incumbent.score) == ("search@t0s2#1", 0.99)
    assert answer.point != answer.incumbent.point, "only points of the first search are confirmed"
    assert answer.candidates is not None
    assert answer.point in [candidate.point for candidate in answer.candidates]


def test_without_a_finished_search_trial_there_is_no_best(until: Until) -> None:
    with pytest.raises(NoResultsYet, match=r"teachers 2/2, search 0/8\); continue with: kd-sweeps launch s"):
        _best(until("search#0"))


def test_an_edited_outcome_gives_an_error_that_names_its_task(until: Until) -> None:
    url = until("confirm")
    execute(str(url), """UPDATE tasks SET outcome = '{"val_accuracy": "high"}' WHERE key = 'search#3'""")
    with pytest.raises(RecordBroken, match=r"the stored outcome of search#3 was edited: val_accuracy is 'high'"):
        _best(url)

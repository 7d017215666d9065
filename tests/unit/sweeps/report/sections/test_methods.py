"""The Methods say what the spec says, where no golden page shows it."""

from typing import Any

import pytest

from sweeps.report import markdown
from sweeps.report.document import Fold
from sweeps.report.methods import section
from sweeps.spec.model import override
from tests.support.sweeps.builders import found
from tests.support.sweeps.reported_sweeps import REPORTED, run


def methods(changes: dict[str, Any]) -> Fold:
    """The section of a sweep that has just begun."""
    return section(found(override(REPORTED, changes), run, until="search#1"))


OVER_SEARCHES = "The regret is the mean over searches; its interval is Student's t over searches"


def test_further_searches_and_teachers_are_said_with_what_the_interval_then_covers() -> None:
    changes = {"outer.teachers": 3, "outer.searches": 4, "outer.trials": 3, "outer.rounds": [[2, 1]], "outer.seeds": 2}
    text = markdown.text([methods(changes)])
    assert "On each dataset 3 teachers are trained." in text
    assert (
        "The search is repeated from other starting points and with other seeds, 4 times in all per teacher; each"
        " further one has 3 trials. The 2 best points are retrained on 1 fresh seeds each. Its best and native are"
        " compared, with scratch, on 2 other seeds."
    ) in text
    assert f"{OVER_SEARCHES}, so it covers seeds and search for one teacher" in text
    assert "Intervals over teachers, averaged over searches, are given apart." in text


@pytest.mark.parametrize("searches", [1, 2])
def test_with_too_few_searches_the_interval_covers_seeds_alone(searches: int) -> None:
    text = markdown.text([methods({"outer.searches": searches})])
    assert "Its interval covers the training seeds of one search and one teacher." in text
    assert OVER_SEARCHES not in text
    assert ("The search is repeated" in text) == (searches == 2)
    assert "Intervals over teachers" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confirm.rounds": [[4, 1], [2, 3]]}, "The 4 best points are retrained on 1 fresh seeds each; the 2 best of"),
        ({"search.sampler": "qmc"}, "8 trials on digits: 8 scrambled Sobol points (Owen 1998). All trials use"),
        ({"search.sampler": "random"}, "8 trials on digits: 8 points proposed by a random draw, each from"),
        ({"transfer.other_seeds": 2}, "with the same 3 seeds, every other arm with the first 2 of them"),
        (
            {"training.schedule": "cosine", "training.learning_rate": 0.002},
            "learning rate 0.002 with cosine decay to 0 (Loshchilov & Hutter 2017)",
        ),
        (
            {"training.schedule": "average", "training.average_steps": 40},
            "the exponential moving average of its weights over about 40 steps (Polyak & Juditsky 1992)",
        ),
        ({"transfer.looks": 1, "transfer.margin": 1.0}, "The margin is 1 point or, where native measurably gains"),
        ({"search.temperature": [2.0, 9.0]}, "T in [2, 9] (log-uniform)"),
        ({"training.batch_size": 48}, "Batches of 48."),
        ({"transfer.looks": 2}, "at most 2 times, at 1 %, 1 % in turn"),
        ({"transfer.looks": 1}, "The test set may be read once; the spec and its time"),
        (
            {"transfer.rule": 3},
            "fresh seeds each, together with the untuned point of `default-keras` in every round.",
        ),
        (
            {"transfer.rule": 3, "outer.searches": 2},
            "fresh seeds each, together with the untuned point of `default-keras` in every round. `best`, `scratch`,"
            " `native` are compared on 3 other seeds each time.",
        ),
        (
            {"target.augment": "none", "baselines.methods": ["autokeras"], "baselines.autokeras_trials": 7},
            "autokeras (at most 7 trials of 6 epochs and 2,000,000 parameters)",
        ),
    ],
)
def test_what_the_spec_changes_is_said(changes: dict[str, Any], said: str) -> None:
    fold = methods(changes)
    assert said in markdown.text([fold])
    assert not fold.printed, "it is no evidence: a printed page has no room for it"

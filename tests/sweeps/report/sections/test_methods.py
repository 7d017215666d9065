"""The Methods say what the spec says, and its commands make the same sweep again."""

from pathlib import Path
from typing import Any

import pytest

from sweeps.python.sweep import create_sweep
from sweeps.query.listing import open_sweep
from sweeps.report import markdown
from sweeps.report.methods import section
from sweeps.spec import stored
from tests.support.sweeps.reported_sweeps import analysed, worked


def test_methods_are_written_from_the_spec(tmp_path: Path) -> None:
    changes = {"search.temperature": [2.0, 9.0], "transfer.margin": 0.4, "transfer.looks": 2, "training.batch_size": 48}
    found = analysed(worked(tmp_path, stop_at="search#1", **changes))
    text = markdown.text([section(found)])
    for said in (
        "Source digits, 1,078 training images; target digits-rgb, 1,078 training images.",
        "digits: cnn-small-narrow, 6 epochs; digits-rgb: cnn-small-narrow, 10 epochs",
        "Batches of 48.",
        "T in [2, 9] (log-uniform) and alpha in [0, 1] (uniform), 8 trials on digits: 4 scrambled Sobol points",
        "then 4 points proposed by multivariate TPE",
        "The 2 best points are retrained on 2 fresh seeds each",
        "the same 3 seeds, which no selection saw: `best`, T and alpha tuned on digits;",
        "`default-keras-io`, T = 10, alpha = 0.1;",
        "Baselines, trained once on digits-rgb: mobilenet.",
        "The margin is 0.4 points or, where native measurably gains over scratch and half of that gain is less,",
        "FLAT when native is shown to lie less than 0.4 points above best, scratch and random alike, and not shown to",
        "at most 2 times, at 1 %, 1 % in turn",
    ):
        assert said in text
    assert "teachers are trained" not in text
    assert "crops" not in text


OVER_SEARCHES = "The regret is the mean over searches; its interval is Student's t over searches"


def test_further_searches_and_teachers_are_said_with_what_the_interval_then_covers(tmp_path: Path) -> None:
    changes = {"outer.teachers": 3, "outer.searches": 4, "outer.trials": 3, "outer.rounds": [[2, 1]], "outer.seeds": 2}
    text = markdown.text([section(analysed(worked(tmp_path, stop_at="search#1", **changes)))])
    assert "On each dataset 3 teachers are trained." in text
    assert (
        "The search is repeated from other starting points and with seeds of its own, 4 in all per teacher; each"
        " further one has 3 trials. The 2 best points are retrained on 1 fresh seeds each. Its best and native are"
        " compared, beside scratch, on 2 seeds of their own."
    ) in text
    assert f"{OVER_SEARCHES}, so it covers seeds and search for one teacher" in text
    assert "Intervals over teachers, their searches averaged, are given apart." in text


@pytest.mark.parametrize("searches", [1, 2])
def test_with_too_few_searches_the_interval_covers_seeds_alone(tmp_path: Path, searches: int) -> None:
    text = markdown.text([section(analysed(worked(tmp_path, stop_at="search#1", **{"outer.searches": searches})))])
    assert "Its interval covers the training seeds of one search and one teacher." in text
    assert OVER_SEARCHES not in text
    assert ("The search is repeated" in text) == (searches == 2)
    assert "Intervals over teachers" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confirm.rounds": [[4, 1], [2, 3]]}, "The 4 best points are retrained on 1 fresh seeds each; the 2 best of"),
        ({"search.sampler": "qmc"}, "8 trials on digits: 8 scrambled Sobol points (Owen 1998). All trials use"),
        ({"search.sampler": "random"}, "8 trials on digits: 8 points proposed by a random draw, each of them"),
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
        ({"transfer.looks": 1}, "The test set may be read once; the spec and its time"),
        (
            {"target.augment": "none", "baselines.methods": ["autokeras"], "baselines.autokeras_trials": 7},
            "autokeras (at most 7 trials of 6 epochs and 2,000,000 parameters)",
        ),
    ],
)
def test_what_the_spec_changes_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    (fold,) = [section(analysed(worked(tmp_path, stop_at="search#1", **changes)))]
    assert said in markdown.text([fold])
    assert not fold.printed, "it is no evidence: a printed page has no room for it"


def test_the_command_to_run_it_again_makes_the_same_sweep(tmp_path: Path) -> None:
    found = analysed(worked(tmp_path, stop_at="search#1"))
    lines = markdown.text([section(found)]).splitlines()
    (tmp_path / "spec.toml").write_text(stored.to_toml(found.spec))
    fingerprint = found.fingerprint
    assert "kd-sweeps create s spec.toml" in lines
    assert "kd-sweeps launch s" in lines
    again = f"sqlite:///{tmp_path}/again.db"
    create_sweep("s", spec=tmp_path / "spec.toml", storage=again)
    with open_sweep(again, "s") as (_, sweep):
        assert sweep.fingerprint == fingerprint

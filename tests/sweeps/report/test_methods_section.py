"""The Methods say what the spec says, and its commands make the same sweep again."""

from pathlib import Path

from sweeps.api import create_sweep
from sweeps.query.opening import open_sweep
from sweeps.report import markdown
from sweeps.report.methods_section import section
from sweeps.spec import toml
from tests.support.sweeps.reported_sweeps import analysed, worked


def test_methods_are_written_from_the_spec(tmp_path: Path) -> None:
    changes = {"search.temperature": [2.0, 9.0], "transfer.margin": 0.4, "transfer.looks": 2, "training.batch_size": 48}
    found = analysed(worked(tmp_path, stop_at="search#1", **changes))
    text = markdown.text(section(found))
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
        "at most 2 times, at 4 %, 1 % in turn",
    ):
        assert said in text
    assert "teachers are trained" not in text
    assert "crops" not in text


def test_an_outer_level_is_said(tmp_path: Path) -> None:
    found = analysed(worked(tmp_path, stop_at="search#1", **{"outer.teachers": 3, "outer.searches": 2}))
    text = markdown.text(section(found))
    assert "On each dataset 3 teachers are trained." in text
    assert "The search is repeated 2 times per teacher." in text
    assert "Intervals over teachers" in text


def test_the_command_to_run_it_again_makes_the_same_sweep(tmp_path: Path) -> None:
    found = analysed(worked(tmp_path, stop_at="search#1"))
    lines = markdown.text(section(found)).splitlines()
    (tmp_path / "spec.toml").write_text(toml.to_toml(found.spec))
    fingerprint = found.fingerprint
    assert "kd-sweeps create s spec.toml" in lines
    assert "kd-sweeps launch s" in lines
    again = f"sqlite:///{tmp_path}/again.db"
    create_sweep("s", spec=tmp_path / "spec.toml", storage=again)
    with open_sweep(again, "s") as (_, sweep):
        assert sweep.fingerprint == fingerprint

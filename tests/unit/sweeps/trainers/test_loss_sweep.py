"""A sweep whose trainer scores a loss: every output names the loss, and lower is better everywhere."""

import contextlib
import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import optuna
import pytest

from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps import Sweep
from sweeps.contrib.trackers import runs
from sweeps.errors import SpecError
from sweeps.findings.compare import compare
from sweeps.findings.findings import findings
from sweeps.findings.load import read
from sweeps.judge.reading import Question, read_runs
from sweeps.judge.tables import read_csv
from sweeps.plan import trials
from sweeps.plan.audit import audit
from sweeps.query.best import best, insight
from sweeps.query.listing import open_sweep, trial_rows
from sweeps.report import folder
from sweeps.report.brief import brief
from sweeps.report.compare import page as compared_page
from sweeps.report.figures import data
from sweeps.report.markdown import text
from sweeps.report.words import level
from sweeps.spec.model import Spec
from sweeps.trainers.protocol import Features, Progress, Run, Trained, TrainerKind
from sweeps.usecases.create import create_sweep
from sweeps.usecases.run import study_note
from sweeps.workers.worker import run_worker
from tests.examples import loss_trainer
from tests.examples.loss_trainer import DEFAULT, KIND, LOSS, LOWEST, LossKind, LossTrainer, loss_spec
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.compared_sweeps import BASE, COMPARED, arms
from tests.support.sweeps.small_sweeps import tasks_of

Commands: TypeAlias = Callable[..., tuple[int, str, str]]

# Shares, confidence levels and test levels are in per cent; a loss never is.
OF_ACCURACY = re.compile(
    r"accurac|\d points?\b(?! proposed)|points? (?:of test|lost|gained|over)|%, n=|(?:validation|test) %", re.I
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with a finished sweep "s" that tunes on "here" and transfers to "there"."""
    url = f"sqlite:///{tmp_path_factory.mktemp('loss')}/s.db"
    assert create_sweep(resolve(url), "s", loss_spec(target={"dataset": "there"})).new
    assert run_worker(resolve(url), "s") == 0
    with open_sweep(url, "s", write=True) as (engine, sweep):
        trials.complete(engine, sweep)
    return url


def test_the_lowest_loss_wins_and_is_stored_negated(url: str) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        winner, rows, outcomes = best(engine, sweep), trial_rows(engine, sweep), tasks_of(engine)
        assert audit(engine, sweep).violations == []
    searched = {row.task: row for row in rows if row.stage == "search" and "@" not in row.task}
    assert winner.incumbent.task == max(searched, key=lambda task: searched[task].score or -math.inf)
    assert -0.05 < winner.accuracy.mean <= -LOWEST
    assert abs(winner.point["rate"] - 0.6) < abs(DEFAULT["rate"] - 0.6)
    (row,) = [row.as_given() for row in rows if row.task == "transfer#target.best.0"]
    assert (row.score, row.test_accuracy) == (pytest.approx(0.0347, abs=3e-4), pytest.approx(0.0347, abs=3e-4))
    (stored,) = [task.outcome for task in outcomes if task.key == "transfer#target.best.0"]
    assert stored is not None
    loss, curve = row.score or 0.0, stored["epoch_val_accuracy"]
    assert curve == [2 * stored["val_accuracy"], stored["val_accuracy"]] == [-2 * loss, -loss]


def test_best_and_trials_print_the_loss(url: str, kd_sweeps: Commands) -> None:
    code, text, _ = kd_sweeps("best", "s", "--storage", url)
    assert code == 0
    assert re.search(r"^validation   0\.0347, n=2, no interval$", text, re.M)
    assert re.search(r"^incumbent    search trial 1: decay = 0\.02\d*, rate = 0\.4\d*, 0\.0347 \(n=1\)$", text, re.M)
    assert "tuning gains 0.068 over a rate of 0" in " ".join(text.split())
    code, table, _ = kd_sweeps("trials", "s", "--storage", url)
    head, *lines = table.splitlines()
    assert head.split() == [
        "task",
        "state",
        "trial",
        "dataset",
        "decay",
        "rate",
        "score",
        "test_loss",
        "train_s",
        "cpu_s",
    ]
    (line,) = [line for line in lines if line.startswith("transfer#target.best.0 ")]
    assert re.search(r" 0\.03\d+ +0\.03\d+ +0 +0$", line)
    code, answer, _ = kd_sweeps("best", "s", "-f", "json", "--storage", url)
    assert json.loads(answer)["score"]["minimize"] is True
    assert OF_ACCURACY.findall(text + table) == []
    assert Sweep.open("s", storage=url).best.score == LOSS
    assert re.fullmatch(
        r"decay = 0\.02\d*, rate = 0\.4\d*: validation 0\.0347, n=2", str(Sweep.open("s", storage=url).best)
    )


def test_the_line_of_a_running_sweep_has_the_loss(url: str) -> None:
    with open_sweep(url, "s") as (engine, _):
        tasks = tasks_of(engine)
    spec = loss_spec(target={"dataset": "there"})
    first = [task for task in tasks if task.key in ("search#0", "search#1")]
    assert insight(spec, first) == "here: best 0.0347 (decay 0.0214, rate 0.47; provisional, validation)"
    assert insight(spec, tasks) == "there: best 0.0347, a rate of 0 0.103 (provisional, validation)"


def test_the_page_its_tables_and_its_figures_name_the_loss(url: str) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        stored = findings(read(engine, sweep))
    files = folder.files(stored)
    page = files["report.md"]
    assert "On there tuning gains 0.068 over a rate of 0." in page
    assert "would add 0.014 (95 % CI 0.011 to 0.017) to the default" in page
    assert "| method | rate, decay | validation loss | test loss | gain of best over this |" in page
    assert "| A rate of 0 (`plain`) | 0, 0.1 | 0.1034 ± 0.0004 (n=3) | 0.1034 ± 0.0003 (n=3) | +0.0687 (n=3" in page
    assert "| Random values (`random`) |  | 0.0584 [0.0000, 0.139" in page, "an interval stays within the bounds"
    assert "scored by validation loss, without pruning" in page
    assert "the one with the lowest mean over fresh seeds is `best`" in page
    assert page.count("A lower loss is better; differences are positive where they are better.") == 2
    assert "Best single runs of the first search by validation loss, partly luck: here 0.0347 at" in page
    assert "Differences are of test loss, paired by seed." in page
    assert "validation loss & test loss &" in files["table.tex"]
    assert "margin = 1.0  # loss of regret that still count as transfer" in files["spec.toml"]
    assert "reduction of test loss on there" in files["figures/gains.svg"]
    assert "loss below the mean of all runs" in files["figures/surface.svg"]
    texts = [page, files["table.tex"], brief(stored, columns=90), study_note(stored, {"s": 1})]
    texts += [re.sub(r"<style.*?</style>", "", svg, flags=re.S) for name, svg in files.items() if name.endswith("svg")]
    assert [OF_ACCURACY.findall(text) for text in texts] == [[]] * len(texts)
    kept = data.strategies(stored)
    assert kept is not None
    assert kept.axis == "reduction of test loss against a rate of 0"


def test_the_fitted_surface_is_best_at_the_lowest_loss_in_any_order_of_the_parameters(url: str) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        surface = findings(read(engine, sweep)).surfaces[0]
    assert surface.parameters == ("rate", "decay"), "the parameters of a point are in another order"
    assert surface.top is not None
    columns = [sum(column) for column in surface.top.mean]
    assert abs((columns.index(max(columns)) + 0.5) / len(columns) - 0.6) < 0.1


def test_the_studies_of_the_dashboard_have_the_negated_loss_and_a_note_about_it(url: str) -> None:
    with contextlib.closing(open_studies(resolve(url))) as studies:
        study = optuna.load_study(study_name="s", storage=studies.storage)
        assert (study.direction, study.metric_names) == (optuna.study.StudyDirection.MAXIMIZE, ["neg_val_loss"])
        assert -0.05 < study.best_value < -LOWEST
        note = studies.storage.get_study_system_attrs(studies.ids()["s.transfer"])["dashboard:note_str:0"]
    assert "Values are minus the loss, so that the highest is the best." in note


def test_a_tracker_gets_the_loss_with_the_sign_of_the_trainer(url: str) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        by_key = {run.key: run for run in runs(read(engine, sweep))}
    run = by_key["transfer#target.best.0"]
    assert run.steps == "epoch_val_loss"
    assert run.epochs == (2 * run.metrics["val_loss"], run.metrics["val_loss"])
    assert 0.03 < run.metrics["test_loss"] < 0.04
    assert not any("accuracy" in name for name in run.metrics)


def test_a_csv_has_the_loss_with_the_sign_of_the_trainer_and_judge_minimizes_it(url: str, tmp_path: Path) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        (tmp_path / "results.csv").write_text(folder.results_csv(findings(read(engine, sweep))))
    lines = [*csv.DictReader((tmp_path / "results.csv").read_text().splitlines())]
    tested = [float(line["test_loss"]) for line in lines if line["stage"] == "transfer"]
    assert min(tested) >= LOWEST
    assert min(float(line["val_loss"]) for line in lines) >= LOWEST
    with read_csv(str(tmp_path / "results.csv")) as rows:
        judged = read_runs(rows, Question())
    assert (judged.score, judged.minimize, judged.percent) == ("test_loss", True, False)


def test_two_sweeps_of_a_loss_are_compared_and_one_of_another_score_is_not(url: str) -> None:
    with open_sweep(url, "s") as (engine, sweep):
        stored = findings(read(engine, sweep))
    page = text(compared_page(compare(["s", "s"], [stored, stored])))
    assert "| sweep | role | gain of best over a rate of 0 | gain of best over the default |" in page
    assert "Differences are of the test loss with their 95 % t interval" in page
    assert OF_ACCURACY.findall(page) == []
    other = make_findings(COMPARED, arms(BASE), name="other")
    with pytest.raises(SpecError) as error:
        compare(["s", "other"], [stored, other])
    assert str(error.value) == (
        "s scores loss (lower is better); other scores accuracy (in %, higher is better, shown times 100); give sweeps"
        " that score the same to compare"
    )


class _PlainKind(LossKind):
    features = Features(score=LOSS, defaults=("default",))


def test_without_an_untreated_arm_the_margin_must_be_given_as_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_trainer, "PLAIN_KIND", _PlainKind(), raising=False)
    name = f"{loss_trainer.__name__}:PLAIN_KIND"
    with pytest.raises(SpecError) as error:
        loss_spec(kind=name)
    assert str(error.value) == (
        f"test: transfer.margin: missing, and trainer {name} has no untreated arm that it could be a share of; give the"
        " loss that may be lost"
    )
    spec = loss_spec(kind=name, transfer={"seeds": 3, "margin": 0.02})
    assert (spec.transfer.margin, spec.transfer.margin_share) == (0.02, 0.0)
    share = {"seeds": 3, "margin_share": 0.1}
    with pytest.raises(SpecError, match=r"leave it out, and give transfer\.margin in the unit of the loss"):
        loss_spec(kind=name, transfer=share)


class _OfItsTable(Spec):
    """A spec whose trainer depends on its note, in place of a table."""

    @property
    def kind(self) -> TrainerKind:
        return KIND if self.note == "a loss" else _PlainKind()


class _TableKind(_PlainKind):
    spec = _OfItsTable


def test_the_engine_asks_the_trainer_that_a_spec_is_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_trainer, "TABLE", _TableKind(), raising=False)
    name = f"{loss_trainer.__name__}:TABLE"
    spec = loss_spec(kind=name, note="a loss")
    assert (spec.transfer.margin_share, spec.untreated_arm("source"), spec.score) == (0.2, "plain", LOSS)
    with pytest.raises(SpecError, match=r"transfer\.margin: missing"):
        loss_spec(kind=name)


@dataclass
class _Wrong(LossTrainer):
    """A trainer whose validation score, curve or test score is out of bounds or not a number."""

    def train(self, run: Run, progress: Progress) -> Trained:
        result = super().train(run, progress)
        if run.key == "search#1":
            return Trained(score=-0.5, size=1)
        if run.key == "search#3":
            return Trained(score=0.5, curve=(6.0, 0.5), size=1)
        return Trained(score=math.nan, size=1) if run.key == "search#2" else result

    def test(self, run: Run, progress: Progress) -> float:
        return 7.5 if run.arm == "best" else math.inf if run.arm == "plain" else super().test(run, progress)


class _WrongKind(LossKind):
    def open(self, spec: Spec, artifacts: object) -> LossTrainer:
        return _Wrong(spec)


def test_a_score_outside_its_bounds_is_an_error_and_nan_counts_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_trainer, "WRONG", _WrongKind(), raising=False)
    spec = loss_spec(kind=f"{loss_trainer.__name__}:WRONG", outer={"searches": 1})
    url = f"sqlite:///{tmp_path}/s.db"
    create_sweep(resolve(url), "s", spec)
    run_worker(resolve(url), "s")
    with open_sweep(url, "s") as (engine, sweep):
        tasks = {task.key: task for task in tasks_of(engine)}
        stored = findings(read(engine, sweep))
    correct = "; allowed: loss from 0 to 5; correct the training, or the bounds of the score"
    assert (tasks["search#1"].error_class, tasks["search#2"].error_class) == ("error", "nan")
    assert (tasks["search#1"].reason or "").endswith(f"the score of search#1 is -0.5{correct}")
    assert tasks["search#2"].reason == "the score of search#2 is nan"
    curve_reason = tasks["search#3"].reason or ""
    assert curve_reason.endswith(f"a point of the curve of search#3 is 6{correct}"), (
        "an invalid curve would make the sweep unreadable"
    )
    test_reason = tasks["transfer#source.best.0"].reason or ""
    assert test_reason.endswith(f"the test score of transfer#source.best.0 is 7.5{correct}")
    assert tasks["transfer#source.plain.0"].error_class == "nan"
    (plain,) = [row for row in stored.rows if row.method == "plain"]
    assert level(LOSS, plain.test) == "5.00 (n=3)", "a diverged training counts as the worst possible loss"

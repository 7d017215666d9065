"""The sentences of the answer, each from a sweep whose accuracies were planted to reach it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage.queue.tasks import Claim
from sweeps import report
from sweeps.analysis.findings import Findings
from sweeps.report import markdown, page
from sweeps.report.sentences import headline, looked
from sweeps.service import steering
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.planted_sweeps import PLANTED, Points, analysed, arms, below, planted, up_to, work, worked
from tests.support.sweeps.trials_in_memory import copied

FEW = override(PLANTED, {"search.trials": 2})  # where only the transfers matter
SCOPE = "Scope: teacher cnn-small-narrow, search of 6 trials, digits -> digits-rgb, n = 4 seeds."


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with the sweep "s" of PLANTED, all of it done but transfer, which no test has to wait for again."""
    path = tmp_path_factory.mktemp("begun") / "s.db"
    worked(f"sqlite:///{path}", PLANTED, planted({}), stop_at="transfer")
    return path


@pytest.fixture
def url(begun: Path, tmp_path: Path) -> sqlalchemy.URL:
    """A copy of it."""
    return copied(begun, tmp_path / "s.db")


@pytest.fixture
def said(url: sqlalchemy.URL) -> Callable[[Mapping[str, Points]], list[str]]:
    """The answer of a sweep with those accuracies."""

    def say(tests: Mapping[str, Points]) -> list[str]:
        work(url, planted(tests))
        return answer(analysed(url))

    return say


def answer(findings: Findings) -> list[str]:
    """The answer as lines of Markdown."""
    return markdown.text(page.answer(findings)).splitlines()


Said = Callable[[Mapping[str, Points]], list[str]]


@pytest.mark.parametrize(
    ("tests", "word", "words"),
    [
        (
            arms(0.0, scratch=0.5),
            "FLAT",
            "tuning on digits-rgb itself gains less than 2 points (95 % bounds) over T and alpha tuned on digits and",
        ),
        (
            arms(0.5),
            "TRANSFERS",
            "cost at most 1.68 points (95 % bound) compared with tuning on digits-rgb itself, less than the",
        ),
        (
            arms(-5.0),
            "TRANSFERS",
            "score at least 3.82 points (95 % bound) higher on digits-rgb than tuning on digits-rgb itself",
        ),
        (
            arms(3.5),
            "FAILS",
            "cost at least 2.32 points (95 % bound) compared with tuning on digits-rgb itself, more than the",
        ),
        (
            arms(1.0),
            "UNDECIDED",
            "cost between -0.18 and +2.18 points (95 % bounds) compared with tuning on digits-rgb itself; the",
        ),
    ],
)
def test_every_word_is_a_sentence_with_its_bound_and_its_scope(
    said: Said, tests: Mapping[str, Points], word: str, words: str
) -> None:
    first = said(tests)[0]  # every bound is the planted mean -+ 1.18
    assert first.startswith(f"**{word}: ")
    assert words in first
    assert SCOPE in first
    assert ("the 2-point margin" in first) == (word != "FLAT")
    assert bool(re.search(r"T = \S+ and alpha = \S+, tuned on digits, (cost|score)", first)) == (word != "FLAT")


def test_undecided_names_the_extend_command_while_a_look_is_left(tmp_path: Path) -> None:
    spec = override(FEW, {"transfer.looks": 3})
    first = answer(analysed(worked(f"sqlite:///{tmp_path}/s.db", spec, planted(arms(1.0)))))[0]
    assert "97 % bounds" in first
    # t[1 - .03, n - 1] + t[.8, n - 1] is below sqrt(n) from 10 on
    assert "If the true regret equals the estimate, 10 seeds per arm decide with 80 % power: " in first
    assert first.endswith("kd-sweeps extend s --seeds +6, then kd-sweeps launch s**")


def test_undecided_after_the_last_look_names_another_sweep_with_another_seed(said: Said) -> None:
    first = said(arms(1.0))[0]
    assert "8 seeds per arm decide" in first
    assert "no declared look is left; start another sweep: kd-sweeps report s -o s-report, then" in first
    assert first.endswith("kd-sweeps create s-2 s-report/spec.toml --seed 1 --set transfer.seeds=8**")
    assert "extend" not in first


def test_a_regret_at_the_margin_itself_is_not_worth_more_seeds(said: Said) -> None:
    first = said(arms(0.0) | {"best": below(2.0, spread=0.0)})[0]
    assert first.startswith("**UNDECIDED: ")
    assert first.endswith("10,000 seeds would not decide with 80 % power.**")


def test_before_the_last_seed_is_in_there_is_no_verdict_not_even_after_a_cancel(url: sqlalchemy.URL) -> None:
    run = planted(arms(3.5))
    with pytest.raises(SystemExit):
        work(url, up_to("transfer#target.best.3", run))
    expected = "NO VERDICT YET on digits -> digits-rgb: 12 of 16 transfer trainings are done; continue with: kd-sweeps"
    assert headline(analysed(url)) == f"{expected} launch s"
    steering.cancel(url, "s")
    assert headline(analysed(url)) == f"{expected} launch s"
    steering.resume(url, "s")
    work(url, run)
    assert headline(analysed(url)).startswith("FAILS: ")


def test_no_verdict_says_what_it_lacks_and_what_to_type(tmp_path: Path) -> None:
    run = planted(arms(0.5))

    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith("transfer#target.native"):
            raise KeyError("a mistake")
        return run(claim, params, on_step)

    storage = f"sqlite:///{tmp_path}/s.db"
    url = worked(storage, override(FEW, {"retry.error": 1}), broken)
    lacks = (
        "NO VERDICT on digits -> digits-rgb: it needs the arms native and best on at least two common seeds, which are"
    )
    again = "4 of 16 trainings failed or were skipped: kd-sweeps retry s"
    assert headline(analysed(url)) == f"{lacks} missing; {again}"
    steering.retry(url, "s")
    work(url, run)
    assert headline(analysed(url)).startswith("TRANSFERS: ")
    worked(storage, override(FEW, {"transfer.seeds": 1}), run, name="one")
    assert headline(analysed(url, "one")) == f"{lacks} missing"


def test_a_search_that_saw_only_luck_is_said_first(tmp_path: Path) -> None:
    lucky = override(PLANTED, {"search.trials": 8})
    lines = answer(analysed(worked(f"sqlite:///{tmp_path}/s.db", lucky, planted(arms(0.5), luck=20.0))))
    assert lines[0].startswith("**Not identified on the source.** digits: NOT IDENTIFIED: (T, alpha) explains only ")
    assert "less than 50 %; the rest is seed noise" in lines[0]
    assert lines[1] == ""
    assert lines[2].startswith("**TRANSFERS: ")
    assert sum("digits: " in line for line in lines) == 1, "once is enough"
    assert any(line.startswith("- digits-rgb: ") for line in lines)


def test_an_optimum_that_stands_out_is_said_with_its_share_and_optimism(said: Said) -> None:
    lines = said(arms(0.5))
    (source,) = [line for line in lines if line.startswith("- digits: ")]
    # without luck a search sees T and alpha alone, and its best trial loses nothing
    assert "(T, alpha) explains 100 % of the variance between runs" in source
    assert "retrained on fresh seeds, the best search trial scored 0.00 points lower" in source
    assert "tied" not in source
    assert lines[0].startswith("**TRANSFERS: ")


def test_a_control_that_gains_as_best_does_is_called_what_it_is(tmp_path: Path) -> None:
    spec = override(FEW, {"transfer.source_arms": ["best", "scratch", "class-mean", "label-smoothing"]})
    tests = arms(0.5) | {"class-mean": below(0.6, spread=0.9), "label-smoothing": below(9.0)}
    lines = answer(analysed(worked(f"sqlite:///{tmp_path}/s.db", spec, planted(tests))))
    (line,) = [line for line in lines if "over scratch" in line]
    assert line.startswith("- digits: best gains +8.50 [")
    assert line.endswith(
        "over scratch, but at least half of that is gained by `class-mean` (the mean logits of each class: how alike"
        " the classes are, nothing about the single image) as well"
    )
    table = [line for line in report("s", storage=f"sqlite:///{tmp_path}/s.db").splitlines() if "| digits |" in line]
    (row,) = [line for line in table if line.startswith("| class-mean | digits | +8.40 [")]
    assert row.count("(n=4)") == 2, "9 - 0.6 points over scratch, and best beyond it"


def test_controls_have_nothing_to_explain_where_best_gains_nothing(tmp_path: Path) -> None:
    spec = override(FEW, {"transfer.source_arms": ["best", "scratch", "class-mean"]})
    tests = arms(9.0) | {"class-mean": below(3.0)}
    (line,) = [
        line
        for line in answer(analysed(worked(f"sqlite:///{tmp_path}/s.db", spec, planted(tests))))
        if "beat scratch" in line
    ]
    assert line.startswith("- digits: best does not measurably beat scratch (")


def test_looks_are_told_with_the_plan_and_when_it_was_stored(tmp_path: Path) -> None:
    run = planted(arms(0.5))
    spec = override(FEW, {"transfer.looks": 2})
    url = worked(f"sqlite:///{tmp_path}/s.db", spec, run, stop_at="search")
    level = "tested one-sided at 4 %, 1 %, together 5 %"
    assert looked(analysed(url)) == f"the test set has not been read; looks declared: 2, {level}"
    work(url, run)
    found = analysed(url)
    first, second = looked(found).split(". ")
    assert first == f"looks at the test set: 1 of 2 declared, {level}"
    plan = f"Look 1: 4 seeds, spec {found.fingerprint[:12]}"
    times = re.fullmatch(rf"{plan} stored (.{{19}}) UTC, test set first read (.{{19}}) UTC", second)
    assert times is not None, second
    assert times[1] <= times[2]

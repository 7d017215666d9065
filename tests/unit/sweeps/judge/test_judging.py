"""What runs are judged to show: an improvement or none, the luck of the best run, ties, missing seeds, what to do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.judge import words
from sweeps.judge.judging import Judgement, judge
from sweeps.judge.reading import Question, read_runs
from sweeps.judge.tables import read_csv
from sweeps.stats.baseline import LEVEL, expected_best
from tests.support.judged.tables import SCORES, long, mlflow, table
from tests.support.present import present

Judged = Callable[..., Judgement]

# The best run of "lucky" is far above the baseline; on average it is no better.
NOISE: Mapping[str, Sequence[float]] = {
    "baseline": (0.910, 0.916, 0.905, 0.912, 0.908),
    "lucky": (0.906, 0.923, 0.903, 0.914, 0.909),
    "worse": (0.880, 0.887, 0.874, 0.880, 0.879),
}


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    def judged(content: str, **question: object) -> Judgement:
        path = tmp_path / "runs.csv"
        path.write_text(content, encoding="utf-8")
        wanted = Question(**question)  # type: ignore[arg-type]
        with read_csv(str(path)) as rows:
            return judge(read_runs(rows, wanted), wanted)

    return judged


def by_dataset(scores: Mapping[tuple[str, str], Sequence[float]]) -> str:
    rows = [(*key, seed, value) for key, values in scores.items() for seed, value in enumerate(values)]
    return table(("setting", "dataset", "seed", "accuracy"), rows)


def test_an_improvement_has_scipys_numbers(judged: Judged) -> None:
    judgement = judged(long())
    (kd,) = judgement.others
    item, test = kd.against, stats.ttest_rel(SCORES["kd"], SCORES["none"])
    low, high = test.confidence_interval(0.95)
    assert judgement.is_improvement == (test.pvalue < LEVEL)
    assert (present(item.difference).low, present(item.difference).high) == pytest.approx((low, high))
    assert item.p_holm == pytest.approx(test.pvalue)
    assert words.headline(judgement) == "kd is better than none."
    assert words.advice(judgement) == "Use kd."
    assert f"95 % CI {low:.4f} to {high:.4f}, p = {test.pvalue:.2g}, 4 pairs" in words.reason(judgement)
    assert words.best_run(judgement) == "", "nothing is taken for an improvement that is none"


def test_the_best_of_several_seeds_is_no_improvement_and_noise_alone_would_bring_as_much(judged: Judged) -> None:
    judgement = judged(long(NOISE))
    assert not judgement.is_improvement
    assert words.headline(judgement) == "No improvement over baseline is shown."
    best = present(present(judgement.other("lucky")).best_run)
    assert (best.seed, best.score, best.runs, best.beats_best) == ("1", 0.923, 5, True)
    assert best.above == pytest.approx(0.923 - np.mean(NOISE["baseline"]))
    spread = np.sqrt(np.mean([np.var(values, ddof=1) for values in NOISE.values()]))
    assert best.luck == pytest.approx(spread * expected_best(5))
    text = words.best_run(judgement)
    assert text.startswith("The best of 5 seeds is no improvement: lucky reaches 0.9230 with seed 1, 0.0128 above")
    assert "and beats its best run" in text
    assert (best.tried, best.luck_of_all) == (10, pytest.approx(spread * expected_best(10)))
    luck = f"the best of 5 runs is expected {best.luck:.4f} above the mean, the best of all 10 {best.luck_of_all:.4f}."
    assert text.endswith(f"Of pure noise, {luck}")


def test_more_seeds_are_asked_for_where_the_lead_may_be_real(judged: Judged) -> None:
    judgement = judged(long(NOISE))
    advice = judgement.advice
    needed = present(present(judgement.other("lucky")).against.needed)
    assert (advice.use, advice.setting, advice.rival, advice.seeds) == ("open", "baseline", "lucky", needed)
    more = f"{needed} seeds, {needed - 5} more, show it with 80 % power"
    assert words.advice(judgement) == f"Keep baseline. If the lead of lucky is as estimated, {more}."


def test_where_no_setting_is_above_the_baseline_it_is_kept(judged: Judged) -> None:
    judgement = judged(long({name: NOISE[name] for name in ("baseline", "worse")}))
    assert words.headline(judgement) == "No improvement: worse is worse than baseline."
    assert (judgement.advice.use, words.advice(judgement)) == ("keep", "Keep baseline: no setting has a higher mean.")
    assert judgement.best == "baseline"


def test_lower_scores_may_be_better(judged: Judged) -> None:
    losses = {name: [1 - value for value in values] for name, values in SCORES.items()}
    judgement, mirror = judged(long(losses, score="loss")), judged(long())
    assert judgement.is_improvement
    assert "lower is better" in words.origin(judgement)
    (ours,), (theirs,) = judgement.others, mirror.others
    assert ours.against.p == pytest.approx(theirs.against.p)
    assert present(ours.against.difference).mean == pytest.approx(0.02, abs=0.001), "positive is better"
    assert ours.mean == pytest.approx(1 - theirs.mean), "levels are as in the file"
    assert "kd is 0.0203 below none" in words.reason(judgement)
    assert not judged(long(losses, score="loss"), minimize=False).is_improvement


def test_ties_are_named_and_a_choice_among_many_is_warned_of(judged: Judged) -> None:
    close = [value + shift for value, shift in zip(SCORES["kd"], (-0.001, 0.001, -0.002, 0.001), strict=True)]
    judgement = judged(long({**SCORES, "close": close}))
    assert (judgement.best, judgement.ties) == ("kd", ("close",))
    assert words.advice(judgement) == "Use kd. close does as well, within the noise."
    assert any("Were they tuned or chosen on these scores?" in text for text in words.sentences(judgement))
    assert not any("tuned or chosen" in text for text in words.sentences(judged(long())))


def test_one_seed_tells_nothing_and_says_what_would(judged: Judged) -> None:
    judgement = judged(long({"base": [0.5], "a": [0.9], "b": [0.1]}))
    assert not judgement.is_improvement
    assert words.headline(judgement) == "No improvement can be shown over base: too few seeds."
    assert "an interval needs 3 seeds" in words.reason(judgement)
    assert words.advice(judgement) == "Keep base until a and base have at least 3 seeds in common."
    assert present(present(judgement.other("a")).best_run).luck is None
    assert [*words.sentences(judgement)] == []


def test_a_setting_with_one_lucky_seed_is_to_be_rerun_though_others_are_worse(judged: Judged) -> None:
    judgement = judged(long({name: NOISE[name] for name in ("baseline", "worse")} | {"once": [0.99]}))
    assert (judgement.advice.use, judgement.advice.rival) == ("open", "once")
    assert words.advice(judgement) == "Keep baseline until once and baseline have at least 3 seeds in common."


def test_a_run_of_its_own_does_not_do_as_well_as_the_best(judged: Judged) -> None:
    judgement = judged(long({**SCORES, "once": [0.2]}))
    assert (judgement.ties, words.advice(judgement)) == ((), "Use kd.")


def test_seeds_are_asked_for_in_common_where_there_are_enough_but_others(judged: Judged) -> None:
    rows = [*(("base", seed, 0.5 + seed / 100) for seed in range(4)), *(("a", 3 + seed, 0.6) for seed in range(4))]
    judgement = judged(table(("setting", "seed", "acc"), rows))
    assert words.headline(judgement) == "No improvement can be shown over base: too few seeds in common."
    assert words.advice(judgement) == "Keep base until a and base have at least 3 seeds in common."


def test_more_than_luck_brings_is_not_called_no_improvement(judged: Judged) -> None:
    judgement = judged(long({"base": [0.50, 0.52, 0.51], "a": [0.62, 0.55, 0.70]}))
    assert not judgement.is_improvement
    assert "The best of 3 seeds proves nothing" in words.best_run(judgement)
    assert "The best of 5 seeds is no improvement" in words.best_run(judged(long(NOISE)))


def test_an_interval_above_0_that_shows_nothing_says_why(judged: Judged) -> None:
    judgement = judged(long({"base": [0.0, 0.0, 0.0, 0.0], "a": [1.0, 2.0, 3.2, 1.0]}))
    item = judgement.others[0].against
    assert not item.better
    assert LEVEL < present(item.p_holm) < 0.05
    assert words.reason(judgement).endswith("A setting is called better or worse below p = 0.03.")


def test_the_same_scores_are_said_to_be_the_same(judged: Judged) -> None:
    judgement = judged(long({"base": SCORES["kd"], "a": SCORES["kd"]}))
    assert words.headline(judgement) == "No improvement: a has the same scores as base."


def test_a_benchmark_of_many_datasets_names_a_few(judged: Judged) -> None:
    numbers = range(30)
    scores = {("base", f"q{q}"): (0.5, 0.6) for q in numbers} | {("a", f"q{q}"): (0.5, q / 30) for q in numbers}
    (text,) = (text for text in words.sentences(judged(by_dataset(scores))) if "by dataset" in text)
    assert text.endswith("; 22 more: -f json.")


def test_a_setting_without_a_dataset_of_the_baselines_is_not_compared(judged: Judged) -> None:
    judgement = judged(
        by_dataset({("base", "m"): NOISE["baseline"], ("a", "m"): NOISE["worse"], ("b", "n"): (0.9, 0.8)})
    )
    assert [row[-1] for row in words.rows(judgement).rows if row[0] == "b"] == ["no dataset shared"]
    assert judgement.advice.use == "keep"


def test_a_seed_that_changes_nothing_is_told(judged: Judged) -> None:
    judgement = judged(long({"base": [0.5, 0.5, 0.5], "a": [0.6, 0.6, 0.6]}))
    assert not judgement.is_improvement
    assert "all differences are the same number" in words.reason(judgement)
    assert "Check that the seed changes anything" in words.advice(judgement)


def test_missing_seeds_are_named_and_leave_their_pair_out(judged: Judged) -> None:
    judgement = judged(long({**SCORES, "kd": SCORES["kd"][:3]}))
    assert present(present(judgement.other("kd")).against.difference).n == 3
    assert present(judgement.other("kd")).missing == {"": ("3",)}
    assert "Missing seeds, which leave a pair out: kd: 3." in [*words.sentences(judgement)]


def test_without_a_shared_seed_the_test_is_welchs_and_that_is_said(judged: Judged) -> None:
    rows = [
        (name, seed + 10 * (name == "kd"), value)
        for name, values in SCORES.items()
        for seed, value in enumerate(values)
    ]
    judgement = judged(table(("setting", "seed", "accuracy"), rows))
    (kd,) = judgement.others
    assert not kd.against.paired
    assert kd.against.p > stats.ttest_ind(SCORES["kd"], SCORES["none"], equal_var=False).pvalue
    assert judgement.is_improvement
    notes = [*words.sentences(judgement)]
    assert any(text.startswith("Not paired, because no seed is shared with none (Welch's test") for text in notes)
    assert not any("Missing" in text for text in notes)


def test_over_datasets_pairs_count_together_and_means_are_over_those_that_all_have(judged: Judged) -> None:
    scores = {
        ("base", "m"): (0.9, 0.91),
        ("base", "n"): (0.5, 0.52),
        ("a", "m"): (0.92, 0.93),
        ("a", "n"): (0.525, 0.53),
    }
    judgement = judged(by_dataset(scores | {("b", "m"): (0.91, 0.93)}))
    item = present(judgement.other("a")).against
    test = stats.ttest_1samp([0.02, 0.02, 0.025, 0.01], 0)
    assert present(item.difference).n == 4
    assert item.p == pytest.approx(test.pvalue)
    assert (judgement.datasets, judgement.common) == (("m", "n"), ("m",))
    assert present(judgement.other("a")).mean == pytest.approx(0.925)
    notes = [*words.sentences(judgement)]
    assert "Means: over m, which all have." in notes
    assert any(text.startswith("a by dataset, each with its own interval: m ") for text in notes)


def test_a_margin_says_which_settings_lose_less(judged: Judged) -> None:
    judgement = judged(long(NOISE), margin=0.02)
    assert [setting.against.no_worse for setting in judgement.others] == [True, False]
    assert "No worse than baseline by 0.0200: lucky." in [*words.sentences(judgement)]
    table = words.rows(judgement)
    assert [row[-1] for row in table.rows] == ["", "yes", "not shown"]


def test_fractions_are_shown_in_percent_where_that_is_asked_for(judged: Judged) -> None:
    judgement = judged(long(), percent=True)
    assert "kd is 2.03 points above none" in words.reason(judgement)
    assert words.rows(judgement).rows[0][2] == "70.50"
    assert words.rows(judgement).columns[2].title == "mean %"


@pytest.mark.parametrize(
    ("settings", "baseline"),
    [
        (("vanilla", "scratch", "x"), "scratch"),
        (("x", "Baseline"), "Baseline"),
        (("loss=kd, alpha=1", "loss=none, alpha=1"), "loss=none, alpha=1"),
    ],
)
def test_a_baseline_is_known_by_its_usual_name(judged: Judged, settings: Sequence[str], baseline: str) -> None:
    assert judged(long({name: [0.5, 0.6] for name in settings})).baseline == baseline


def test_a_baseline_may_be_named_as_a_number_is_written(judged: Judged) -> None:
    assert judged(mlflow(), baseline="1.0").baseline == "1"
    assert judged(long(), baseline="KD").baseline == "kd"

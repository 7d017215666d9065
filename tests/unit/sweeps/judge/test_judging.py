"""The judgement of runs, compared with scipy. The wording of each judgement is a golden page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.judge import words
from sweeps.judge.judging import Judgement, judge
from sweeps.judge.reading import Question, read_runs
from sweeps.judge.tables import read_csv
from sweeps.stats.baseline import LEVEL, expected_best
from tests.support.judged.tables import SCORES, long, mlflow
from tests.support.present import present
from tests.support.worded.judgements import LOSSES, NOISE, TWO, by_dataset, seeds_apart

Judged = Callable[..., Judgement]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    def judged(content: str, **options: object) -> Judgement:
        path = tmp_path / "runs.csv"
        path.write_text(content, encoding="utf-8")
        question = Question(**options)  # type: ignore[arg-type]
        with read_csv(str(path)) as rows:
            return judge(read_runs(rows, question), question)

    return judged


def test_an_improvement_has_scipys_numbers(judged: Judged) -> None:
    judgement = judged(long())
    (kd,) = judgement.others
    item, test = kd.against, stats.ttest_rel(SCORES["kd"], SCORES["none"])
    low, high = test.confidence_interval(0.95)
    assert judgement.is_improvement == (test.pvalue < LEVEL)
    assert (present(item.difference).low, present(item.difference).high) == pytest.approx((low, high))
    assert item.p_holm == pytest.approx(test.pvalue)
    assert f"95 % CI {low:.4f} to {high:.4f}, p = {test.pvalue:.2g}, 4 pairs" in words.reason(judgement)
    assert words.best_run(judgement) == "", "a real improvement gets no warning"


def test_the_best_of_several_seeds_is_no_improvement_and_comes_with_what_noise_would_give(judged: Judged) -> None:
    judgement = judged(long(NOISE))
    assert not judgement.is_improvement
    best = present(present(judgement.other("lucky")).best_run)
    assert (best.seed, best.score, best.runs, best.beats_best) == ("1", 0.923, 5, True)
    assert best.above == pytest.approx(0.923 - np.mean(NOISE["baseline"]))
    spread = np.sqrt(np.mean([np.var(values, ddof=1) for values in NOISE.values()]))
    assert best.luck == pytest.approx(spread * expected_best(5))
    assert (best.tried, best.luck_of_all) == (10, pytest.approx(spread * expected_best(10)))
    needed = present(present(judgement.other("lucky")).against.needed)
    assert (judgement.advice.use, judgement.advice.rival, judgement.advice.seeds) == ("open", "lucky", needed)


def test_lower_scores_can_be_better(judged: Judged) -> None:
    judgement, mirror = judged(long(LOSSES, score="loss")), judged(long())
    assert judgement.is_improvement
    (ours,), (theirs,) = judgement.others, mirror.others
    assert ours.against.p == pytest.approx(theirs.against.p)
    assert present(ours.against.difference).mean == pytest.approx(0.02, abs=0.001), "positive is better"
    assert ours.mean == pytest.approx(1 - theirs.mean), "means are as in the file"
    assert not judged(long(LOSSES, score="loss"), minimize=False).is_improvement


def test_without_a_shared_seed_the_test_is_welchs(judged: Judged) -> None:
    judgement = judged(seeds_apart(SCORES))
    (kd,) = judgement.others
    assert not kd.against.paired
    assert kd.against.p > stats.ttest_ind(SCORES["kd"], SCORES["none"], equal_var=False).pvalue
    assert judgement.is_improvement


def test_pairs_of_all_datasets_count_together_and_means_are_over_common_datasets(judged: Judged) -> None:
    judgement = judged(by_dataset(TWO | {("b", "m"): (0.91, 0.93)}))
    item = present(judgement.other("a")).against
    assert present(item.difference).n == 4
    assert item.p == pytest.approx(stats.ttest_1samp([0.02, 0.02, 0.025, 0.01], 0).pvalue)
    assert (judgement.datasets, judgement.common) == (("m", "n"), ("m",))
    assert present(judgement.other("a")).mean == pytest.approx(0.925)


def test_a_missing_seed_leaves_its_pair_out(judged: Judged) -> None:
    judgement = judged(long({**SCORES, "kd": SCORES["kd"][:3]}))
    assert present(present(judgement.other("kd")).against.difference).n == 3
    assert present(judgement.other("kd")).missing == {"": ("3",)}


@pytest.mark.parametrize(
    ("settings", "baseline"),
    [
        (("vanilla", "scratch", "x"), "scratch"),
        (("x", "Baseline"), "Baseline"),
        (("loss=kd, alpha=1", "loss=none, alpha=1"), "loss=none, alpha=1"),
    ],
)
def test_a_baseline_is_recognised_by_its_usual_name(judged: Judged, settings: Sequence[str], baseline: str) -> None:
    assert judged(long({name: [0.5, 0.6] for name in settings})).baseline == baseline


def test_a_baseline_can_be_named_in_any_spelling_of_its_number_or_case(judged: Judged) -> None:
    assert judged(mlflow(), baseline="1.0").baseline == "1"
    assert judged(long(), baseline="KD").baseline == "kd"

"""bench/null.py with few simulated sweeps: its draws, its counts, its section."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from null import ARMS, CLAIMS, SETTINGS, Setting, Truth, draw, endings, measure

from sweeps.stats.verdict import KEPT, LEVELS

IDS = [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
def test_the_arms_have_the_noise_and_the_distances_that_were_asked_for(setting: Setting) -> None:
    drawn = draw(np.random.default_rng(1), setting, Truth(5.0, 4.0, 2.0), sweeps=2000, seeds=10)
    assert drawn.shape == (2000, len(setting.arms), 10)
    native, best, *others = drawn.transpose(1, 0, 2).reshape(len(setting.arms), -1)
    assert (native - best).std() == pytest.approx(setting.sd, rel=0.03)
    assert native.std() == pytest.approx(np.hypot(setting.shared_sd, setting.arm_sd), rel=0.03)
    means = [(native - other).mean() for other in (best, *others)]
    assert means == pytest.approx([2.0, 5.0, 4.0][: len(means)], abs=0.05)


def test_random_belongs_to_no_search() -> None:
    assert {setting.unit: setting.arms for setting in SETTINGS} == {"searches": ARMS[:3], "seeds": ARMS}


def words(drawn: np.ndarray, setting: Setting, level: float) -> list[str]:
    """The arithmetic of `decide` once more and apart from it, over all sweeps at a time; one look."""
    native, best, scratch, *_ = drawn.transpose(1, 0, 2)
    n, margin = drawn.shape[2], setting.margin

    def bounds(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        half = stats.t.isf(level, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n)
        return values.mean(axis=-1) - half, values.mean(axis=-1) + half

    rivals = drawn[:, :1] - drawn[:, 2:]
    beats, within = bounds(rivals, level / rivals.shape[1])[0], bounds(rivals, level)[1]
    halved = (beats[:, 0] > 0) & (KEPT * (native - scratch).mean(axis=-1) < margin)
    beyond = np.where(halved[:, None], native - best - KEPT * (native - scratch), native - best - margin)
    low, high = bounds(beyond, level)
    inside = bounds(native - best, level)[1] < margin
    return np.select(
        [low > 0, (high < 0) & inside & (beats > 0).any(axis=1), inside & (within < margin).all(axis=1)],
        ["FAILS", "TRANSFERS", "FLAT"],
        "UNDECIDED",
    ).tolist()


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
@pytest.mark.parametrize("gain", [0.0, 1.0, 3.0])
def test_decide_and_numpy_end_every_sweep_alike(setting: Setting, gain: float) -> None:
    truth = Truth(gain * setting.margin, gain * setting.margin / 2, 0.4 * setting.margin)
    drawn = draw(np.random.default_rng(2), setting, truth, sweeps=150, seeds=setting.count)
    counts: Counter[str] = Counter()
    for (word, _), number in endings(drawn, setting, looks=1).items():
        counts[word] += number
    assert counts == Counter(words(drawn, setting, LEVELS[1][0]))
    assert len(counts) > 1


def test_the_levels_of_all_looks_add_up_to_five_percent() -> None:
    assert {looks: len(levels) for looks, levels in LEVELS.items()} == {1: 1, 2: 2, 3: 3}
    assert [sum(levels) for levels in LEVELS.values()] == pytest.approx([0.05] * 3)


@pytest.mark.parametrize(
    ("truth", "ending", "wrong"),
    [
        (Truth(4.0, 4.0, 1.0), ("TRANSFERS", False), True),
        (Truth(4.0, 4.0, 0.9), ("TRANSFERS", False), False),
        (Truth(1.0, 1.0, 0.6), ("TRANSFERS", True), True),
        (Truth(1.0, 1.0, 0.6), ("FAILS", True), False),
        (Truth(1.0, 1.0, 0.6), ("FAILS", False), True),
        (Truth(0.2, 0.1, 3.0), ("FLAT", False), True),
        (Truth(0.2, 0.1, 0.3), ("FLAT", False), False),
        (Truth(9.0, 9.0, 9.0), ("UNDECIDED", False), False),
    ],
)
def test_a_word_is_wrong_on_the_other_side_of_the_margin_that_applied(
    truth: Truth, ending: tuple[str, bool], wrong: bool
) -> None:
    assert truth.makes_wrong(ending, 1.0) == wrong


def test_a_run_is_the_same_every_time() -> None:
    first, second = measure(sweeps=2), measure(sweeps=2)
    assert first == second
    assert {claim: len(rows) for claim, rows in first.claims.items()} == dict(zip(CLAIMS, (180, 60, 18), strict=True))


@pytest.mark.processes
def test_a_small_run_writes_its_section_and_the_claims_hold(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, "bench/null.py", "--sweeps", "20", "--page", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = page.read_text()
    assert "## Verdicts" in text
    assert text.count("**holds**") == len(CLAIMS)

"""bench/null.py with few simulated sweeps: its draws, its counts, its section."""

import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY
from tests.support.present import present

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from null import ARMS, CLAIMS, RULE, SETTINGS, Ending, Setting, Truth, draw, endings, judged, measure

from sweeps.stats.verdict import LEVELS, decide

IDS = [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
def test_the_arms_have_the_noise_and_the_distances_that_were_asked_for(setting: Setting) -> None:
    drawn = draw(np.random.default_rng(1), setting, Truth(5.0, 4.0, 2.0), sweeps=2000, seeds=10)
    assert {one.unit: one.arms for one in SETTINGS} == {"searches": ARMS[:3], "seeds": ARMS}, "random is of no search"
    assert drawn.shape == (2000, len(setting.arms), 10)
    native, best, *others = drawn.transpose(1, 0, 2).reshape(len(setting.arms), -1)
    assert (native - best).std() == pytest.approx(setting.sd, rel=0.03)
    assert native.std() == pytest.approx(np.hypot(setting.shared_sd, setting.arm_sd), rel=0.03)
    means = [(native - other).mean() for other in (best, *others)]
    assert means == pytest.approx([2.0, 5.0, 4.0][: len(means)], abs=0.05)


def asked(sweep: np.ndarray, setting: Setting, level: float) -> Ending:
    """What `decide` says of one sweep, shape (arms, units)."""
    arms = dict(zip(ARMS, sweep.tolist(), strict=False))
    whole = [{arm: dict(enumerate(values)) for arm, values in arms.items()}]
    apart = [{arm: {0: values[number]} for arm, values in arms.items()} for number in range(sweep.shape[1])]
    verdict = present(
        decide(whole if setting.unit == "seeds" else apart, margin=setting.margin, level=level, rule=RULE)
    )
    return verdict.word, verdict.halved, verdict.beats["scratch"] > 0 or present(present(verdict.gain).low) > 0


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
def test_decide_and_numpy_end_every_sweep_alike(setting: Setting) -> None:
    words: Counter[str] = Counter()
    for gain, level in itertools.product((0.0, 0.5, 1.0, 3.0), (0.01, 0.05)):
        truth = Truth(gain * setting.margin, gain * setting.margin / 2, 0.4 * setting.margin)
        drawn = draw(np.random.default_rng(2), setting, truth, sweeps=20, seeds=setting.count)
        ends = judged(drawn, setting.margin, level)
        assert ends == [asked(sweep, setting, level) for sweep in drawn], (gain, level)
        words.update(word for word, _, _ in ends)
    assert set(words) >= {"TRANSFERS", "UNDECIDED", "FLAT"}, "every way there is"


def test_who_is_decided_looks_no_further() -> None:
    setting, truth = SETTINGS[0], Truth(5.0, 5.0, 0.0)
    drawn = draw(np.random.default_rng(3), setting, truth, sweeps=150, seeds=3 * setting.count)
    drawn[:, 1, setting.count :] -= 100.0  # what comes after the first look would fail
    first = Counter(judged(drawn[..., : setting.count], setting.margin, LEVELS[RULE][3][0]))
    counts = endings(drawn, setting, looks=3)
    assert counts.total() == 150
    assert 0 < counts["TRANSFERS", False, True] == first["TRANSFERS", False, True] < 150


def test_a_word_is_wrong_on_the_other_side_of_the_margin_that_applied() -> None:
    for truth, ending, wrong in (
        (Truth(4.0, 4.0, 1.0), ("TRANSFERS", False, True), True),
        (Truth(4.0, 4.0, 0.9), ("TRANSFERS", False, True), False),
        (Truth(1.0, 1.0, 0.6), ("TRANSFERS", True, True), True),
        (Truth(1.0, 1.0, 0.6), ("FAILS", True, True), False),
        (Truth(1.0, 1.0, 0.6), ("FAILS", False, False), True),
        (Truth(0.2, 0.1, 3.0), ("FLAT", False, False), True),
        (Truth(0.2, 0.1, 0.3), ("FLAT", False, False), False),
        (Truth(0.2, 0.1, 0.3), ("FLAT", False, True), True),
        (Truth(9.0, 9.0, 9.0), ("UNDECIDED", False, True), False),
    ):
        assert truth.makes_wrong(ending, 1.0) == wrong, (truth, ending)


def test_a_run_is_the_same_every_time() -> None:
    first = measure(sweeps=1)
    assert first == measure(sweeps=1)
    assert {claim: len(rows) for claim, rows in first.claims.items()} == dict(
        zip(CLAIMS, (150, 40, 12, 160, 10), strict=True)
    )


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
    assert "## Advice" in text
    assert "## Judge" in text
    assert "## Verdicts" in text
    assert text.count("**holds**") == 3 + 2 + len(CLAIMS)
    assert re.search(r"^wrong advice, worst row = \d+\.\d %$", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^a setting wrongly called better, worst row = \d+\.\d % ", done.stdout, flags=re.MULTILINE)
    wrong, coverage = done.stdout.rstrip().splitlines()[-2:]
    assert re.fullmatch(r"wrong words, worst row = \d+\.\d %", wrong)
    assert re.fullmatch(r"coverage, worst row = \d+\.\d %", coverage)

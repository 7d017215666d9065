"""bench/null.py with few simulated sweeps: its draws, its counts, its section."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from null import ARMS, CLAIMS, SETTINGS, Setting, decided, draw, last_words, measure

QUICK = SETTINGS[0]
IDS = [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
def test_the_arms_have_the_noise_and_the_distances_that_were_asked_for(setting: Setting) -> None:
    drawn = draw(np.random.default_rng(1), setting, sweeps=2000, seeds=10, regret=2.0, above=5.0)
    assert drawn.shape == (2000, len(ARMS), 10)
    native, best, scratch, random = drawn.transpose(1, 0, 2).reshape(len(ARMS), -1)
    assert (native - best).std() == pytest.approx(setting.sd, rel=0.03)
    assert native.std() == pytest.approx(np.hypot(setting.seed_sd, setting.arm_sd), rel=0.03)
    means = [(native - other).mean() for other in (best, scratch, random)]
    assert means == pytest.approx([2.0, 5.0, 5.0], abs=0.05)


@pytest.mark.parametrize("setting", SETTINGS, ids=IDS)
@pytest.mark.parametrize("looks", [1, 3])
def test_decide_and_numpy_end_the_same_sweeps(setting: Setting, looks: int) -> None:
    drawn = draw(np.random.default_rng(2), setting, sweeps=150, seeds=looks * setting.seeds, above=0.3 * setting.margin)
    counts = last_words(drawn, setting, looks=looks)
    assert counts.total() == 150
    assert 0 < counts["TRANSFERS"] + counts["FAILS"] == decided(drawn, setting, looks=looks, rivals=2)


def test_sharing_the_level_between_two_rivals_is_what_keeps_the_claim() -> None:
    drawn = draw(np.random.default_rng(3), QUICK, sweeps=20_000, seeds=QUICK.seeds)
    assert decided(drawn, QUICK, looks=1, rivals=2) < 0.05 * 20_000 < decided(drawn, QUICK, looks=1, rivals=1)


def test_a_run_is_the_same_every_time() -> None:
    first, second = measure(sweeps=5), measure(sweeps=5)
    assert first == second
    assert {claim: len(rows) for claim, rows in first.claims.items()} == dict(zip(CLAIMS, (4, 8, 12), strict=True))


@pytest.mark.processes
def test_a_small_run_writes_its_section_and_the_claims_hold(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, "bench/null.py", "--sweeps", "40", "--page", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = page.read_text()
    assert "## Verdicts" in text
    assert text.count("**holds**") == len(CLAIMS)

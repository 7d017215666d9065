"""The section "Judge" of bench/null.py: NumPy agrees with `against`, and the simulated effects are as requested."""

import sys

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

from support.judge import POOL, SEEDS, SETTINGS, called, claims, measure, page, unpaired, worlds, worst
from sweeps.stats.baseline import against


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_against_and_numpy_call_the_same_settings_better(settings: int, seeds: int) -> None:
    some = set()
    for world in worlds():
        drawn = world.draw(np.random.default_rng(7), 25, settings, seeds) + 1.5 * world.sd * np.eye(1, settings).T
        pairs = drawn.shape[-1]
        answer = called(drawn.mean(axis=-1), drawn.std(axis=-1, ddof=1), pairs, pairs - 1)
        for family, better, low in zip(drawn, answer.better, answer.low, strict=True):
            rows = {
                f"s{number}": {("", str(seed)): 0.0 + value for seed, value in enumerate(row)}
                for number, row in enumerate(family.tolist())
            }
            base = {("", str(seed)): 0.0 for seed in range(pairs)}
            answers = against({"base": base} | rows, "base")
            assert [item.better for item in answers] == better.tolist(), world.name
            lows = [
                np.nan if item.difference is None or item.difference.low is None else item.difference.low
                for item in answers
            ]
            assert lows == pytest.approx(low.tolist(), nan_ok=True)
        some |= {world.name} if answer.better.any() else set()
    assert some or settings == 20
    assert seeds > 2 or all("datasets" in name for name in some), "two pairs are never enough"


def test_welch_and_numpy_call_the_same_settings_better() -> None:
    rng = np.random.default_rng(8)
    state = rng.bit_generator.state
    answer = called(*unpaired(rng, 200, 3, 5, 3.0))
    rng.bit_generator.state = state
    base, runs = rng.standard_normal((200, 1, 5)), 3.0 * rng.standard_normal((200, 3, 5))
    for number in range(200):
        rows = {
            f"s{place}": {("", f"x{seed}"): value for seed, value in enumerate(row)}
            for place, row in enumerate(runs[number].tolist())
        }
        answers = against(
            {"base": {("", str(seed)): value for seed, value in enumerate(base[number, 0].tolist())}} | rows, "base"
        )
        assert [item.better for item in answers] == answer.better[number].tolist()
    assert not np.isnan(answer.low).any()


def test_every_world_has_settings_that_are_as_good_as_the_baseline() -> None:
    for world in worlds():
        drawn = world.draw(np.random.default_rng(9), 4000, 5, 5)
        assert drawn.mean() == pytest.approx(0.0, abs=0.02 * world.sd), world.name
        if not world.name[0].isdigit():  # several datasets add their own spread
            assert drawn.std() == pytest.approx(world.sd, rel=0.05), world.name
    assert POOL == 2000
    assert "% exactly 0, skewness -" in worlds()[3].name


def test_a_small_run_keeps_the_claims_and_names_the_worst_row_first() -> None:
    rows = measure(families=200)
    assert all(map(all, claims(rows).values()))
    text = page(rows)
    assert text.startswith(f"**{worst(rows)}**")
    assert {row.seeds for row in rows} == set(SEEDS)
    assert sum(row.wrong for row in rows) < sum(row.plain_wrong for row in rows)
    nothing = [row for row in rows if row.seeds == 2 and "datasets" not in row.world]
    assert {row.wrong for row in nothing} == {0}, "two seeds are never enough"
    alone = [
        row.right or 0
        for row in rows
        if (row.world, row.effect, row.settings) == ("normal noise", "one 3 sd better", 1)
    ]
    assert alone == sorted(alone), "more seeds find more"

"""The candidates of a search held against the seeds of its confirm: ties, and the winner's curse."""

from sweeps.stats.resampling import optimism, tied


def test_optimism_is_what_the_search_promised_above_fresh_seeds() -> None:
    assert optimism(70.0, [68.0, 69.0]) == 1.5


def test_those_whose_paired_interval_includes_0_are_tied() -> None:
    best = {0: 70.0, 1: 71.0, 2: 72.0}
    worse = {seed: score - 1 - seed / 100 for seed, score in best.items()}
    mixed = {0: 69.0, 1: 72.0, 2: 71.5}  # 1, -1, 0.5
    others = {"worse": worse, "mixed": mixed, "same": best, "one seed": {0: 1.0}, "other seeds": {9: 1.0}}
    assert tied(best, others) == ["mixed", "same", "one seed", "other seeds"]
    assert tied(best, {}) == []


def test_the_edge_of_the_tie_is_the_t_interval() -> None:
    # differences 1 +- s with three seeds: 0 is included from s = 1 * sqrt(3) / 4.3027 = 0.4025 on
    for spread, expected in ((0.40, []), (0.41, ["other"])):
        other = {0: -1.0, 1: -1.0 - spread, 2: -1.0 + spread}
        assert tied({0: 0.0, 1: 0.0, 2: 0.0}, {"other": other}) == expected

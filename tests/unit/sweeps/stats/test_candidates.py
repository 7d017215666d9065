"""The candidates of a search held against the seeds of its confirm: ties."""

from sweeps.stats.resampling import is_tied


def test_those_whose_paired_interval_includes_0_are_tied() -> None:
    best = {0: 70.0, 1: 71.0, 2: 72.0}
    worse = {seed: score - 1 - seed / 100 for seed, score in best.items()}
    mixed = {0: 69.0, 1: 72.0, 2: 71.5}  # 1, -1, 0.5
    others = {"worse": worse, "mixed": mixed, "same": best, "one seed": {0: 1.0}, "other seeds": {9: 1.0}}
    assert [name for name in others if is_tied(best, others[name])] == ["mixed", "same", "one seed", "other seeds"]


def test_the_edge_of_the_tie_is_the_t_interval() -> None:
    # differences 1 +- s with three seeds: 0 is included from s = 1 * sqrt(3) / 4.3027 = 0.4025 on
    for spread, expected in ((0.40, False), (0.41, True)):
        other = {0: -1.0, 1: -1.0 - spread, 2: -1.0 + spread}
        assert is_tied({0: 0.0, 1: 0.0, 2: 0.0}, other) == expected

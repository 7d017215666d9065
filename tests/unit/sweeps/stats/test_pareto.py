"""The Pareto front: what nothing else beats in cost and in accuracy at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.stats.estimates import pareto_front


def test_the_front_by_hand() -> None:
    points = [(3, 90.0), (1, 80.0), (2, 79.0), (3, 91.0), (1, 80.0), (9, 91.0)]
    assert pareto_front(points) == [1, 4, 3]
    assert pareto_front([]) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(one: tuple[int, int]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in points)

    assert sorted(pareto_front(points)) == [i for i, one in enumerate(points) if not dominated(one)]

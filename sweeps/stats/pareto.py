"""Find the Pareto front of cost and value."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, value) that no other point dominates, cheapest first.

    A point dominates another if its cost is not higher, its value is not lower, and the two differ. Equal points are
    therefore on the front together or not at all.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front

"""bench/support/halves.py: the two datasets that the sweeps of the transfer study name."""

import sys
from collections import Counter

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from support import halves


def test_the_halves_of_cifar10_share_no_class() -> None:
    animals, vehicles = halves.animals(), halves.vehicles()
    assert len(animals["x_train"]) + len(vehicles["x_train"]) == 50_000
    assert len(animals["x_test"]) + len(vehicles["x_test"]) == 10_000
    assert Counter(animals["y_test"].tolist()) == dict.fromkeys(range(6), 1_000)
    assert Counter(vehicles["y_test"].tolist()) == dict.fromkeys(range(4), 1_000)

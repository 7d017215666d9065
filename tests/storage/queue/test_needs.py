"""storage.queue.needs: the stored text of needs and of a lag, and back."""

import pytest

from storage.queue.needs import Lag, Need, parse_lag, parse_needs


@pytest.mark.parametrize(
    ("need", "text"), [(Need("search@t1s0"), "search@t1s0"), (Need("baselines", after_any_end=True), "baselines?")]
)
def test_a_need_is_stored_as_text_and_read_back(need: Need, text: str) -> None:
    assert need.stored() == text
    assert parse_needs([text]) == [need]
    assert parse_lag([text]) is None


def test_a_lag_stands_among_the_needs_and_is_none_of_them() -> None:
    lag = Lag(8, first=10)
    stored = [Need("teachers:source").stored(), lag.stored()]
    assert stored == ["teachers:source", "lag:8:10"]
    assert parse_needs(stored) == [Need("teachers:source")]
    assert parse_lag(stored) == lag

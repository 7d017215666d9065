"""storage.queue.phases: the stored text of needs and of a lag, and back."""

import pytest

from storage.queue.phases import Dependency, StartLag, parse_dependencies, parse_lag


@pytest.mark.parametrize(
    ("need", "text"),
    [(Dependency("search@t1s0"), "search@t1s0"), (Dependency("baselines", after_any_end=True), "baselines?")],
)
def test_a_need_is_stored_as_text_and_read_back(need: Dependency, text: str) -> None:
    assert need.stored() == text
    assert parse_dependencies([text]) == [need]
    assert parse_lag([text]) is None


def test_a_lag_stands_among_the_needs_and_is_none_of_them() -> None:
    lag = StartLag(8, first=10)
    stored = [Dependency("teachers:source").stored(), lag.stored()]
    assert stored == ["teachers:source", "lag:8:10"]
    assert parse_dependencies(stored) == [Dependency("teachers:source")]
    assert parse_lag(stored) == lag

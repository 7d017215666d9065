"""storage.queue.needs: the stored text of a need, and back."""

import pytest

from storage.queue.needs import Need, parse_need


@pytest.mark.parametrize(
    ("need", "text"), [(Need("search@t1s0"), "search@t1s0"), (Need("baselines", after_any_end=True), "baselines?")]
)
def test_a_need_is_stored_as_text_and_read_back(need: Need, text: str) -> None:
    assert need.stored() == text
    assert parse_need(text) == need

"""storage.json_text: whatever is parsed is nested within reason, so that whatever walks through it comes to its end."""

import json

import pytest

from storage.json_text import MOST_LEVELS, parse


@pytest.mark.parametrize("text", ["null", "[]", '{"a": [1, {"b": "[[[{{{"}]}', f'"{"[" * 500}"', f"[{'[],' * 500}[]]"])
def test_a_text_is_its_value(text: str) -> None:
    assert parse(text) == parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("levels", [1, MOST_LEVELS, MOST_LEVELS + 1, 960, 5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_text_may_be_nested_so_deeply_and_no_deeper(levels: int, opening: str, closing: str) -> None:
    text = opening * levels + "1" + closing * levels
    if levels <= MOST_LEVELS:
        parse(text)
        return
    with pytest.raises(ValueError, match=r"^it is nested more than 100 levels deep$"):
        parse(text)

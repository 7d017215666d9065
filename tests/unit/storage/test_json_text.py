"""storage.json_text: deeply nested text is refused, so that recursion over parsed values ends."""

import json

import pytest

from storage.json_text import MOST_LEVELS, parse


@pytest.mark.parametrize("text", ["null", "[]", '{"a": [1, {"b": "[[[{{{"}]}', f'"{"[" * 500}"', f"[{'[],' * 500}[]]"])
def test_a_text_is_parsed_as_by_json(text: str) -> None:
    assert parse(text) == parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("levels", [1, MOST_LEVELS, MOST_LEVELS + 1, 960, 5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_text_nested_more_than_the_limit_is_refused(levels: int, opening: str, closing: str) -> None:
    text = opening * levels + "1" + closing * levels
    if levels <= MOST_LEVELS:
        parse(text)
        return
    with pytest.raises(ValueError, match=r"^it is nested more than 100 levels deep$"):
        parse(text)

"""`compare --url` prints and writes what `compare --storage` does, on both databases, half a look included."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps.compared_sweeps import add, lower
from tests.support.web.services import OPERATOR, TOKENS, serving_program

pytestmark = pytest.mark.processes

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_a_comparison_is_the_same_from_a_service(
    storage_url: str, tmp_path: Path, kd_sweeps: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"transfer__seeds": 3, "baselines__methods": ()}
    add(storage_url, "base", **few)
    add(storage_url, "worse", lower(1.0), **few)
    add(storage_url, "half", lower(-2.0), stop_at="transfer#target.best.2", **few)
    names = ("base", "worse", "half")
    monkeypatch.setenv("KD_SWEEPS_TOKEN", OPERATOR)
    with serving_program(storage_url, folder=tmp_path, tokens=TOKENS) as service:
        for words in ((), ("-f", "brief"), ("-f", "json"), ("-f", "csv")):
            code, out, err = kd_sweeps("compare", *names, *words, "--storage", storage_url)
            assert code == 0, err
            assert "not yet" in out or "csv" in words
            there = kd_sweeps("compare", *names, *words, "--url", service.url)
            assert (there[0], _placeless(there[1])) == (code, _placeless(out))
            assert there[2].startswith("service ")
        assert kd_sweeps("compare", "base", "nobody", "--url", service.url)[0] == 1
        for place, words in (("here", ("--storage", storage_url)), ("there", ("--url", service.url))):
            assert kd_sweeps("compare", *names, "-o", place, *words)[0] == 0
    written = [
        {path.relative_to(place): path.read_bytes() for path in Path(place).rglob("*.*")} for place in ("here", "there")
    ]
    assert written[0] == written[1]
    assert len(written[0]) == 4


def _placeless(text: str) -> list[str]:
    """The lines without the command that names the place."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("As a page: ")), len(lines))
    end = next((number for number in range(start, len(lines)) if not lines[number]), len(lines))
    return lines[:start] + lines[end:]

"""Results of a custom training: a number or a table with one; no test score and no value outside JSON."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kd.errors import Diverged
from sweeps.custom.results import MOST_FACTS, Bounds, result_of
from sweeps.errors import TrainingFailed

ACCURACY = Bounds("accuracy", 0.0, 1.0)


def given(returned: object, bounds: Bounds = ACCURACY) -> Any:
    return result_of("train.py:train", returned, bounds, train_s=1.0, cpu_s=2.0)


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), Decimal("0.5")])
def test_a_number_of_any_library_is_a_score(number: object) -> None:
    assert given(number).validation == 0.5
    assert given({"validation": number}).validation == 0.5


def test_a_size_and_facts_become_json_types() -> None:
    result = given({"validation": 1, "size": np.int64(7), "agreement": np.float64(0.25), "layers": [1, 2], "on": True})
    assert (result.validation, result.size, result.train_s, result.cpu_s) == (1.0, 7, 1.0, 2.0)
    assert result.facts == {"agreement": 0.25, "layers": [1, 2], "on": True}


class _Broken:
    def __float__(self) -> float:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("not even that")


REFUSED: dict[str, tuple[object, str]] = {
    "nothing": (None, "gave None of type NoneType for a score; return a number"),
    "text": ("0.9", "gave '0.9' of type str for a score"),
    "a boolean": (True, "gave True of type bool"),
    "a list": ([0.9], "gave [0.9] of type list"),
    "a class without a repr": (_Broken(), "gave a _Broken of type _Broken"),
    "no validation": ({"accuracy": 0.9}, "gave accuracy, and no 'validation'"),
    "an empty table": ({}, "gave nothing, and no 'validation'"),
    "a test score": ({"validation": 0.9, "test": 0.8}, "gave 'test', but test data are for the comparison only"),
    "another test score": ({"validation": 0.9, "Test_accuracy": 0.8}, "gave 'Test_accuracy', but test data are for"),
    "a percentage": (
        93.2,
        "gave the accuracy 93.2, outside of trainer.score.low = 0 and high = 1; is it a percentage?",
    ),
    "below": (-0.1, "gave the accuracy -0.1, outside of trainer.score.low = 0 and high = 1"),
    "a size": ({"validation": 0.9, "size": -1}, "gave size -1; allowed: a whole number >= 0"),
    "half a byte": ({"validation": 0.9, "size": 0.5}, "gave size 0.5"),
    "not JSON": ({"validation": 0.9, "model": object()}, "gave values besides its score that are not JSON: object"),
    "NaN beside it": ({"validation": 0.9, "loss": math.nan}, "gave values besides its score that are not JSON"),
    "too much": (
        {"validation": 0.9, "log": "x" * MOST_FACTS},
        "gave 65,547 bytes besides its score; allowed: 65,536; write the rest",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_result_gives_a_one_line_error(case: str) -> None:
    returned, text = REFUSED[case]
    with pytest.raises(TrainingFailed) as error:
        given(returned)
    assert str(error.value).startswith(f"train.py:train {text}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [math.nan, math.inf, np.float32("nan")])
def test_a_score_that_is_not_finite_counts_as_diverged(number: float) -> None:
    with pytest.raises(Diverged, match=r"train\.py:train gave the score (nan|inf)"):
        given(number)


def test_the_bounds_of_the_score_hold() -> None:
    assert given(93.2, Bounds("perplexity", 1.0, math.inf)).validation == 93.2
    with pytest.raises(TrainingFailed, match=r"the perplexity 0\.5, outside of trainer\.score\.low = 1"):
        given(0.5, Bounds("perplexity", 1.0, math.inf))

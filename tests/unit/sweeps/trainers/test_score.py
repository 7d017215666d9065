"""The score of a trainer: how it is stored, and how its levels and differences are written."""

import math
from typing import Any

import pytest

from sweeps.trainers.protocol import Score
from sweeps.trainers.score import ACCURACY
from tests.examples.loss_trainer import LOSS

LATENCY = Score(name="p99 latency", unit="ms", difference="ms", scale=1000.0, minimize=True, high=math.inf)
BLEU = Score(name="BLEU", unit="", difference="", scale=1.0, high=100.0)


@pytest.mark.parametrize(
    ("score", "value", "text"),
    [
        (ACCURACY, 0.97412, "97.41 %"),
        (ACCURACY, 0.0004, "0.04 %"),
        (LOSS, 0.03124, "0.0312"),
        (LOSS, 2.3084, "2.31"),
        (LOSS, 0.0, "0.00"),
        (LATENCY, 0.04567, "45.7 ms"),
        (LATENCY, 1.2345, "1234 ms"),
        (BLEU, 31.25, "31.2"),
    ],
)
def test_a_level_is_written_in_the_given_sign_with_its_unit_and_suitable_digits(
    score: Score, value: float, text: str
) -> None:
    stored = score.signed(value)
    assert score.signed(stored) == value
    assert score.text(stored) == score.scaled_text(score.scaled(stored)) == text
    assert score.number(stored) == text.partition(" ")[0]


def test_stored_scores_are_better_if_higher_for_every_trainer() -> None:
    assert LOSS.signed(0.1) > LOSS.signed(0.2)
    assert (LOSS.bounds, ACCURACY.bounds, LATENCY.bounds) == ((-5.0, -0.0), (0.0, 1.0), (-math.inf, -0.0))
    assert LATENCY.scaled(LATENCY.signed(0.1) - LATENCY.signed(0.3)) == pytest.approx(200.0)


def test_numbers_of_a_sentence_have_the_decimals_that_the_largest_needs() -> None:
    assert LOSS.decimals(1, 0.0021, -0.0004, 0.0046) == 4
    assert LATENCY.decimals(1, 120.0, 3.0) == 0
    assert (ACCURACY.decimals(1, 0.0021), ACCURACY.decimals(2, 120.0)) == (1, 2)
    assert (LOSS.decimals(2, 0.0), LOSS.decimals(2)) == (2, 2)


@pytest.mark.parametrize(
    ("score", "amounts", "phrases"),
    [
        (
            ACCURACY,
            ["1 point", "0.5 points"],
            ["points of test accuracy gained", "points over x", "best - x", "validation %", "accuracies"],
        ),
        (
            LOSS,
            ["1", "0.5"],
            [
                "reduction of test loss",
                "reduction of loss against x",
                "gain of best over x",
                "validation loss",
                "losses",
            ],
        ),
        (
            LATENCY,
            ["1 ms", "0.5 ms"],
            [
                "reduction of test p99 latency, ms",
                "reduction of p99 latency against x, ms",
                "gain of best over x",
                "validation ms",
                "p99 latencies",
            ],
        ),
        (
            BLEU,
            ["1", "0.5"],
            ["test BLEU gained", "gain of BLEU against x", "best - x", "validation BLEU", "BLEUs"],
        ),
    ],
)
def test_sentences_heads_and_axes_name_the_score(score: Score, amounts: list[str], phrases: list[str]) -> None:
    assert [score.amount(text) for text in ("1", "0.5")] == amounts
    texts = [score.gained("test"), score.over("x"), score.less("x"), score.head("validation"), score.plural]
    assert texts == phrases


@pytest.mark.parametrize("wrong", [{"name": ""}, {"low": 1.0}, {"scale": 0.0}, {"scale": math.inf}, {"high": math.nan}])
def test_an_invalid_score_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a score needs a name, low < high and scale > 0, got Score\("):
        Score(**wrong)


def test_the_key_of_a_score_tells_whether_it_is_negated() -> None:
    assert [score.key("val") for score in (ACCURACY, LOSS, LATENCY)] == [
        "val_accuracy",
        "neg_val_loss",
        "neg_val_p99_latency",
    ]
    assert [score.of_difference for score in (ACCURACY, LOSS)] == ["accuracy points", "loss"]
    assert LATENCY.own_key("test") == "test_p99_latency"

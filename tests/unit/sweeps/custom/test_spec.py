"""The table [trainer] of a custom training: its keys, its score, and its errors."""

import math
from typing import Any

import pytest

from storage.studies.space import Categorical, Range, Whole
from sweeps.custom.spec import ScoreTable
from sweeps.errors import SpecError
from sweeps.spec.model import override, parse
from sweeps.spec.stored import to_toml, values_of
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import Score
from tests.support.custom.specs import DEFAULT, spec

FUNCTION = {"train": "./train.py:train"}
COMMAND = {"command": "./train.sh {temperature} {alpha} {seed}"}


def test_every_spelling_of_a_parameter_is_read() -> None:
    space = spec(
        FUNCTION
        | {
            "untreated": {},
            "defaults": {},
            "space": {
                "alpha": [0.0, 1.0],
                "rate": {"low": 1e-4, "high": 1, "log": True},
                "depth": [-2, 6],
                "width": {"low": 8, "high": 64, "log": True},
                "optimizer": ["adam", "sgd"],
                "batch": {"choices": [32, 64, 128]},
                "warm": {"choices": [True, False]},
            },
        },
        transfer={"seeds": 2, "margin": 0.5},
    ).trainer.space
    assert space == {
        "alpha": Range(0.0, 1.0),
        "rate": Range(1e-4, 1.0, log=True),
        "depth": Whole(-2, 6, log=False),
        "width": Whole(8, 64, log=True),
        "optimizer": Categorical(("adam", "sgd")),
        "batch": Categorical((32, 64, 128)),
        "warm": Categorical((True, False)),
    }


@pytest.mark.parametrize(
    "trainer", [FUNCTION, COMMAND, FUNCTION | {"score": {"name": "loss", "direction": "minimize"}}]
)
def test_a_spec_is_read_back_from_its_toml_and_from_the_storage(trainer: dict[str, Any]) -> None:
    original = spec(trainer)
    assert parse(values_of(to_toml(original))) == original
    assert parse(original.as_dict()).fingerprint == original.fingerprint
    assert override(original, {"search.trials": 7}).trainer == original.trainer


@pytest.mark.parametrize(
    ("table", "score"),
    [
        ({}, Score()),
        ({"low": 0.5}, Score(low=0.5)),
        (
            {"name": "loss", "direction": "minimize", "low": 0.0},
            Score(name="loss", unit="", difference="", scale=1.0, minimize=True, low=0.0, high=math.inf),
        ),
        (
            {"name": "time", "unit": "ms", "direction": "minimize"},
            Score(name="time", unit="ms", difference="ms", scale=1.0, minimize=True, low=-math.inf, high=math.inf),
        ),
    ],
)
def test_a_score_other_than_accuracy_has_only_the_given_unit_and_bounds(table: dict[str, Any], score: Score) -> None:
    assert ScoreTable.model_validate(table).as_score() == score


def test_untreated_takes_missing_values_from_the_first_default_or_the_low_end() -> None:
    table = spec(FUNCTION).trainer
    assert table.point(table.untreated) == Point.of({"temperature": 3.0, "alpha": 1.0})
    table = spec(FUNCTION | {"defaults": {}}).trainer
    assert table.point(table.untreated) == Point.of({"temperature": 1.0, "alpha": 1.0})


def test_the_arms_are_best_untreated_and_each_default() -> None:
    two_defaults = spec(FUNCTION | {"defaults": {"default": DEFAULT, "paper": DEFAULT | {"alpha": 0.9}}})
    assert two_defaults.arms("source") == ("best", "untreated", "default", "paper")
    assert two_defaults.kind.features.defaults == ("default", "paper")
    assert (two_defaults.untreated_arm("source"), two_defaults.raced) == ("untreated", "default")
    assert two_defaults.transfer.margin_share == 0.2
    no_arms = spec(FUNCTION | {"untreated": {}, "defaults": {}}, transfer={"seeds": 2, "margin": 0.5})
    assert (no_arms.arms("source"), no_arms.untreated_arm("source"), no_arms.raced) == (("best",), "", "")
    assert (no_arms.transfer.margin, no_arms.transfer.margin_share) == (0.5, 0.0)


def test_a_default_outside_the_range_widens_the_space_of_the_comparison_only() -> None:
    far = spec(FUNCTION | {"defaults": {"default": {"temperature": 40, "alpha": 0.5}}})
    assert far.kind.space(far)["temperature"] == Range(1.0, 20.0, log=True)
    assert far.kind.space(far, transfer=True)["temperature"] == Range(1.0, 40.0, log=True)
    assert far.trainer.point(far.trainer.defaults["default"])["temperature"] == 40.0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no space": ({"space": {}}, "trainer.space: got {}; allowed: a table of one parameter or more"),
    "no name": ({"space": {"a b": [0.0, 1.0]}}, "'a b' is not one"),
    "a word of Python": ({"space": {"lambda": [0.0, 1.0]}}, "'lambda' is not one"),
    "an argument of every training": ({"space": {"seed": [0.0, 1.0]}}, "'seed' is not one"),
    "equal bounds": ({"space": {"alpha": [0.5, 0.5]}}, "a single value cannot be searched"),
    "bounds exchanged": ({"space": {"alpha": [1.0, 0.0]}}, "low < high; got 1.0 and 0.0"),
    "a log of 0": ({"space": {"alpha": {"low": 0.0, "high": 1.0, "log": True}}}, "low > 0 with log = true"),
    "a choice of one": ({"space": {"alpha": {"choices": ["a"]}}}, "two or more choices"),
    "a choice twice": ({"space": {"alpha": {"choices": [1, True]}}}, "each choice once"),
    "a choice of nothing": ({"space": {"alpha": {"choices": ["a", None]}}}, "got None"),
    "a range for a share": ({"space": {"alpha": [0, 1]}}, "[0.0, 1.0] for a range, or choices = [0, 1]"),
    "no range": ({"space": {"alpha": {"lo": 0.0, "high": 1.0}}}, "for alpha: [low, high]"),
    "an integer beyond float precision": ({"space": {"alpha": [0, 2**53 + 2]}}, "whole numbers up to 2^53"),
    "wider than a float": ({"space": {"alpha": [-1e308, 1e308]}}, "high - low below 1.8e+308"),
    "no float": ({"space": {"alpha": {"low": 0.0, "high": 10**400}}}, "with finite numbers"),
    "a name of two lines": ({"score": {"name": "a\nb"}}, "text of one line"),
    "a unit of spaces": ({"score": {"unit": " "}}, "text of one line"),
    "infinite": ({"space": {"alpha": [0.0, math.inf]}}, "for alpha: "),
    "neither": ({"train": ""}, "trainer.train and trainer.command: got neither; give one of them"),
    "both": ({"command": "true"}, "trainer.train and trainer.command: got both; give one of them"),
    "another name": ({"defaults": {"default": DEFAULT | {"beta": 1.0}}}, "trainer.defaults.default: got 'beta'"),
    "an incomplete default": ({"defaults": {"default": {"alpha": 0.5}}}, "trainer.defaults.default has no temperature"),
    "a list": ({"untreated": {"alpha": [1]}}, "untreated.alpha: got [1]; allowed: a number, a text, true or false"),
    "not finite": ({"untreated": {"alpha": float("nan")}}, "untreated.alpha: got NaN; allowed: a finite number"),
    "text": ({"untreated": {"alpha": "one"}}, "trainer.untreated.alpha: got 'one'; allowed: a number"),
    "a name of an arm": ({"defaults": {"best": DEFAULT}}, "'best' is not one"),
    "bounds of the score": ({"score": {"low": 2.0, "high": 1.0}}, "low < high; got 2 and 1"),
    "an unknown key": ({"tests": "./a.py:b"}, "unknown key 'trainer.tests'; did you mean trainer.test?"),
    "a brace": (
        {"train": "", "command": "./train.sh {tempreature}"},
        "trainer.command: got {tempreature}; allowed in braces: {temperature}, {alpha}, {seed}",
    ),
    "a quote": ({"train": "", "command": "echo 'a"}, "the words of a command; no closing quotation"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_table_gives_a_one_line_error(case: str) -> None:
    changes, text = REFUSED[case]
    with pytest.raises(SpecError) as error:
        spec(FUNCTION | changes)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_datasets_displayed_alike_need_a_name() -> None:
    tables = {"source": {"dataset": "glue/mnli"}, "target": {"dataset": "old/mnli"}}
    with pytest.raises(
        SpecError, match=r"source\.dataset and target\.dataset would both be shown as 'mnli'; set target"
    ):
        spec(FUNCTION, **tables)
    assert spec(FUNCTION, **tables | {"target": {"dataset": "old/mnli", "name": "old mnli"}}).target
    with pytest.raises(SpecError, match=r"source\.dataset: got 'a\\nb'; allowed: text of one line"):
        spec(FUNCTION, source={"dataset": "a\nb"})


def test_without_an_untreated_point_a_margin_in_the_unit_of_the_score_is_required() -> None:
    with pytest.raises(SpecError, match=r"transfer\.margin is missing: .* give it in points, for example"):
        spec(FUNCTION | {"untreated": {}})
    loss = {"name": "loss", "direction": "minimize"}
    with pytest.raises(SpecError, match="give it in the unit of the loss, for example"):
        spec(FUNCTION | {"untreated": {}, "score": loss})
    stored = spec(FUNCTION | {"untreated": {}}, transfer={"seeds": 2, "margin": 0.5}).as_dict()
    assert parse(stored).transfer.margin == 0.5


def test_a_margin_share_without_a_gain_is_refused() -> None:
    with pytest.raises(SpecError, match=r"transfer\.margin_share: got 0\.1"):
        spec(FUNCTION | {"untreated": {}}, transfer={"seeds": 2, "margin": 0.5, "margin_share": 0.1})

"""What a search varies beside T and alpha: ranges that are checked, stored only where there are some, and kept."""

from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import SpecError
from sweeps.spec.model import Spec, override
from sweeps.spec.presets import PRESETS, on, preset
from sweeps.spec.toml import read, to_toml

SPACE = {"learning_rate": [0.001, 0.01], "epochs": [3, 12], "batch_size": [16, 64]}
WIDE = override(preset("tiny"), {"search.space": SPACE})


@pytest.mark.parametrize(
    ("space", "allowed"),
    [
        (3, "a table of ranges, such as { learning_rate = [0.001, 0.01] }"),
        ({"temperature": [1, 2]}, "temperature has a key of its own: search.temperature"),
        ({"Foo": [1, 2]}, "learning_rate, epochs, batch_size, or a parameter of the loss, such as beta; 'Foo'"),
        ({"arm": [1, 2]}, "'arm' is no name for one"),
        ({"learning_rate": [0, 0.01]}, "two numbers [low, high] with 0 < low <= high <= 1; got [0, 0.01]"),
        ({"learning_rate": [0.1, 0.01]}, "with 0 < low <= high <= 1; got [0.1, 0.01]"),
        ({"learning_rate": [float("nan"), 0.01]}, "with 0 < low <= high <= 1"),
        ({"epochs": [1.5, 3]}, "epochs: two whole numbers"),
        ({"epochs": [True, 3]}, "epochs: two whole numbers"),
        ({"batch_size": [16]}, "batch_size: two whole numbers"),
        ({"learning_rate": "fast"}, "got 'fast'"),
        ({"beta": [1, 2, 3]}, "beta: two numbers [low, high] with low <= high"),
    ],
)
def test_what_is_no_range_is_one_line_that_says_what_is(space: Any, allowed: str) -> None:
    with pytest.raises(SpecError) as error:
        override(preset("tiny"), {"search.space": space})
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_has_to_fit_into_the_images() -> None:
    with pytest.raises(SpecError, match="images \\(1078\\) is less than one batch \\(2048\\)"):
        override(preset("tiny"), {"search.space": {"batch_size": [32, 2048]}})


def test_same_cost_is_refused_where_the_epochs_are_searched_since_what_a_search_costs_then_varies() -> None:
    with pytest.raises(SpecError, match="scratch-same-cost"):
        override(preset("full"), {"search.space": {"epochs": [5, 20]}})


def test_a_spec_file_holds_the_ranges(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(to_toml(WIDE))
    assert read(file) == WIDE


@pytest.mark.parametrize("spec", PRESETS.values(), ids=list(PRESETS))
def test_a_spec_without_them_is_stored_as_before_they_were_there(spec: Spec) -> None:
    assert "space" not in spec.as_dict()["search"]
    assert override(spec, {"search.space": {}}).fingerprint == spec.fingerprint


def test_where_the_training_is_searched_an_arm_shows_what_that_alone_gains() -> None:
    assert "scratch-tuned" in WIDE.arms("source")
    assert WIDE.without_teacher("source") == "scratch-tuned"
    assert "scratch-tuned" in WIDE.arms("target")
    assert "scratch-tuned" not in WIDE.arms("target", "t0s1")
    own = override(preset("tiny"), {"training.distillation": "nkd", "search.space": {"gamma": [1, 2]}})
    assert "scratch-tuned" not in own.arms("target")
    assert own.without_teacher("target") == "scratch"


def test_one_dataset_has_no_target_and_every_arm_all_seeds() -> None:
    alone = on(preset("quick"), source="mnist", alone=True)
    assert alone.roles == ("source",)
    assert alone.targets == ()
    assert {alone.seeds_of("source", arm) for arm in alone.arms("source")} == {preset("quick").transfer.seeds}
    assert alone.baselines_on("source") == preset("quick").baselines.methods
    assert "[target]" not in to_toml(alone)


def test_targets_are_numbered_without_a_gap() -> None:
    with pytest.raises(SpecError, match="target2 without target"):
        override(preset("tiny"), {"target2": preset("tiny").role("target").model_dump(), "target": None})

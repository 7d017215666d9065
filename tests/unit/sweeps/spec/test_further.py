"""Further searched parameters: their ranges, names and storage; also specs with one or several datasets."""

from dataclasses import fields, replace
from typing import Any

import pytest

from kd.losses.builtin import LOSSES
from sweeps.distill.cost import Macs
from sweeps.distill.presets import on
from sweeps.distill.space import TRAINING_PARAMS
from sweeps.errors import SpecError
from sweeps.findings.surfaces import SearchTrial
from sweeps.plan.jobs import StudentOutcome
from sweeps.plan.selection import Candidate, Confirmed, Ranked
from sweeps.query.listing import TrialRow
from sweeps.report.compare import long_csv
from sweeps.spec.model import ROLES, override
from sweeps.spec.stored import to_toml
from sweeps.spec.tables import Group
from sweeps.stats.estimates import Estimate
from sweeps.trainers.names import RESERVED_NEW
from tests.support.points import at
from tests.support.sweeps.presets import before

SPACE = {"learning_rate": [0.001, 0.01], "epochs": [3, 12], "batch_size": [16, 64]}
WIDE = override(before("tiny"), {"search.space": SPACE})


@pytest.mark.parametrize(
    ("space", "allowed"),
    [
        (3, "a table of ranges, such as { learning_rate = [0.001, 0.01] }"),
        ({"temperature": [1, 2]}, "temperature has its own key: search.temperature"),
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
def test_a_bad_range_gives_a_one_line_error_with_the_allowed_form(space: Any, allowed: str) -> None:
    with pytest.raises(SpecError) as error:
        override(before("tiny"), {"search.space": space})
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_the_training_images_is_refused() -> None:
    with pytest.raises(SpecError, match="images \\(1078\\) is less than one batch \\(2048\\)"):
        override(before("tiny"), {"search.space": {"batch_size": [32, 2048]}})


def test_scratch_same_cost_is_refused_with_searched_epochs_since_the_cost_of_a_search_then_varies() -> None:
    with pytest.raises(SpecError, match="scratch-same-cost"):
        override(before("full"), {"search.space": {"epochs": [5, 20]}})


def test_a_spec_without_further_parameters_is_stored_as_before_they_existed() -> None:
    spec = before("tiny")
    assert "space" not in spec.as_dict()["search"]
    assert override(spec, {"search.space": {}}).fingerprint == spec.fingerprint


def test_with_searched_training_parameters_an_arm_shows_their_gain_alone() -> None:
    assert "scratch-tuned" in WIDE.arms("source")
    assert WIDE.untreated_arm("source") == "scratch-tuned"
    assert "scratch-tuned" in WIDE.arms("target")
    assert "scratch-tuned" not in WIDE.arms("target", Group(search=1))
    nkd_spec = override(before("tiny"), {"training.distillation": "nkd", "search.space": {"gamma": [1, 2]}})
    assert "scratch-tuned" not in nkd_spec.arms("target")
    assert nkd_spec.untreated_arm("target") == "scratch"


def test_a_spec_of_one_dataset_has_no_target_and_all_seeds_for_every_arm() -> None:
    alone = on(before("quick"), source="mnist", alone=True)
    assert alone.roles == ("source",)
    assert alone.targets == ()
    assert {alone.seeds_of("source", arm) for arm in alone.arms("source")} == {before("quick").transfer.seeds}
    assert alone.baselines_on("source") == before("quick").baselines.methods
    assert "[target]" not in to_toml(alone)


def test_targets_are_numbered_without_a_gap() -> None:
    with pytest.raises(SpecError, match="target2 without target"):
        override(before("tiny"), {"target2": before("tiny").role("target").model_dump(), "target": None})


def _recorded() -> set[str]:
    """Return the names of all fields of records other than searched parameters."""
    point, accuracy = at(1.0, 0.5), Estimate(0.5, None, None, 1)
    candidate = Candidate(point, 0, accuracy)
    confirmed = Confirmed(candidate, (candidate,)).as_json()
    row = TrialRow(**dict.fromkeys(field.name for field in fields(TrialRow)))
    (csv_header,) = long_csv([("s", before("tiny"), [replace(row, state="done", task="search#0", more={})])]).split()[
        :1
    ]
    names = {*confirmed, *Ranked(point, 0.5, "").as_json(), *csv_header.split(",")}
    for record in (TrialRow, SearchTrial, Macs):
        names |= {field.name for field in fields(record)}
    return names | set(ROLES) | set(StudentOutcome.model_fields)


def test_every_field_of_the_records_is_a_reserved_name() -> None:
    own_keys = {"temperature", "alpha", *TRAINING_PARAMS}
    assert _recorded() - own_keys - RESERVED_NEW == set()
    assert not RESERVED_NEW & own_keys
    assert not RESERVED_NEW & {parameter.name for loss in LOSSES.values() for parameter in loss.parameters}


def test_a_stored_spec_with_a_reserved_name_stays_readable() -> None:
    changes = {"training.distillation": "./my.py:loss", "search.space": {"cpu_s": [1, 2]}}
    assert override(before("tiny"), changes).search.space == {"cpu_s": (1, 2)}

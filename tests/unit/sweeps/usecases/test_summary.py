"""A plan in a few lines that fit a terminal, and all of it for who asks."""

import math

import pytest
from scipy import stats

from storage.url import resolve
from sweeps.distill.kind import PAIRED_SD, SEARCH_SD
from sweeps.distill.presets import PRESETS, preset
from sweeps.plan.plan import expected_core_seconds, make_plan, on_two_cores
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import describe_details, describe_plan, needed_elsewhere
from tests.support.sweeps.presets import before

URL = resolve("sqlite:///a.db")


def _lines(spec: Spec) -> list[str]:
    return describe_plan(spec, make_plan(spec), URL)


@pytest.mark.parametrize("name", PRESETS)
def test_a_plan_is_six_lines_that_fit_a_terminal(name: str) -> None:
    lines = _lines(preset(name))
    assert [line.split()[0] for line in lines] == ["search", "data", "models", "work", "answer", "storage"]
    assert max(map(len, lines)) <= 80


def test_the_lines_of_preset_quick() -> None:
    assert _lines(preset("quick")) == [
        "search   T 1 to 20, alpha 0 to 1: 6 trials, 8 searches on each dataset",
        "data     mnist (3,000 images) -> cifar10 (3,000 images)",
        "models   cnn-small teaches keras-student",
        "work     290 trainings, about 20 core-minutes",
        "answer   the cheapest choice that keeps 80 % of the gain, tested over 8 searches",
        "storage  sqlite:///a.db",
    ]
    (answer,) = [line for line in _lines(preset("tiny")) if line.startswith("answer")]
    assert answer == "answer   no recommendation: outer.searches is 1, and it takes 3 or more"
    bare = _lines(override(preset("quick"), {"transfer.target_arms": ["best", "native"]}))
    assert "answer   the cheapest choice that loses less than 1 point, tested over 8 searches" in bare
    points = _lines(override(preset("quick"), {"transfer.margin": 2.0}))
    assert "verdict  margin 2 points; 8 searches detect a distance of 0.22 to 1.5 from it (80 % power)" in points


@pytest.mark.parametrize(
    ("sizes", "said"), [([32, 100], "32 | 64"), ([48, 50], "48"), ([32, 32], "32"), ([16, 64], "16 | 32 | 64")]
)
def test_of_a_range_of_batch_sizes_those_are_said_that_are_tried(sizes: list[int], said: str) -> None:
    spec = override(preset("tiny"), {"search.space": {"epochs": [3, 12], "batch_size": sizes}})
    assert f"search   T 1 to 20, alpha 0 to 1, epochs 3 to 12, batch_size {said}: 8 trials on each dataset" in _lines(
        spec
    )


def test_who_teaches_whom_is_said_once_where_it_is_the_same() -> None:
    several = override(preset("tiny"), {"target.teacher": "resnet20"})
    assert "models   cnn-small-narrow on digits, resnet20 on digits-rgb teach keras-student" in _lines(several)
    students = override(several, {"target.student": "mlp-800"})
    assert (
        "models   cnn-small-narrow teaches keras-student on digits; resnet20 teaches mlp-800 on digits-rgb"
    ) in _lines(students)


def test_twice_the_epochs_are_expected_to_take_about_twice_as_long() -> None:
    epochs = {key: 2 * value for key, value in (("source.epochs", 15), ("target.epochs", 12))}
    (work,) = [line for line in _lines(override(preset("quick"), epochs)) if line.startswith("work")]
    assert 35 <= int(work.split()[-2]) <= 40


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (preset("tiny"), "1 minute"),
        (preset("quick"), "10 minutes"),
        (preset("full"), "96 hours"),
        (override(preset("quick"), {"search.trials": 100, "transfer.seeds": 100}), "3 hours"),
        (override(preset("tiny"), {"source.images": 100, "target.images": 100}), "1 minute"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.preset,
)
def test_how_long_a_sweep_takes_on_two_cores(spec: Spec, said: str) -> None:
    assert on_two_cores(expected_core_seconds(spec)) == said


def test_all_settings_phases_and_tasks_are_there_for_who_asks() -> None:
    spec = before("full")
    lines = describe_details(spec, make_plan(spec))
    assert "source   mnist: 50000 images, teacher keras-teacher, student keras-student, 20 epochs" in lines
    assert (
        "outer    3 teachers on each dataset, 5 searches: the first of 100 trials and 72 to confirm, further ones of"
        " 40 and 35, compared on 10 seeds"
    ) in lines
    assert "phase    transfer:target: 330 tasks" in lines
    assert any(line.startswith("tasks    3462: teachers 6, search 660") for line in lines)
    assert any(line.startswith("transfer#target.native.29  {") for line in lines)


@pytest.mark.parametrize(
    ("changes", "level", "number", "unit"),
    [
        ({}, 0.01, 5, "searches"),
        ({"transfer.looks": 1, "transfer.rule": 1, "outer.searches": 4}, 0.05, 4, "searches"),
        ({"outer.searches": 1, "transfer.seeds": 10}, 0.01, 10, "seeds"),
        ({"outer.searches": 2, "transfer.looks": 1, "transfer.seeds": 10}, 0.01, 10, "seeds"),  # too few to count
    ],
)
def test_the_plan_says_what_it_can_resolve(changes: dict[str, int], level: float, number: int, unit: str) -> None:
    spec = override(before("quick"), changes)
    known = SEARCH_SD if unit == "searches" else PAIRED_SD
    low, high, origin = known["cifar10", "keras-student"]
    times = (stats.t.ppf(1 - level, number - 1) + stats.t.ppf(0.8, number - 1)) / math.sqrt(number)
    shown = f"{low * times:.2g} to {high * times:.2g}"
    assert f"verdict  margin 1 point; {number} {unit} detect a distance of {shown} from it (80 % power)" in _lines(spec)
    assert (
        f"power    planned evaluation 1 of {spec.transfer.looks} on the test set, at the {100 * level:g} % level;"
        f" sd between {unit} {low:g} to {high:g} points ({origin})"
    ) in describe_details(spec, make_plan(spec))


@pytest.mark.parametrize(
    ("name", "changes", "line", "power"),
    [
        (
            "quick",
            {"transfer.seeds": 1, "transfer.other_seeds": 0, "outer.searches": 1},
            "margin 1 point; 1 seed, but a verdict needs 2",
            "sd between seeds 0.25 to 0.48 points (bench/results/recipe.md, preset quick)",
        ),
        (
            "tiny",
            {},
            "margin 1 point; the smallest difference that 5 seeds detect on digits-rgb is unknown",
            "the sd between seeds on digits-rgb is unknown",
        ),
        (
            "tiny",
            {"outer.searches": 3},
            "margin 1 point; the smallest difference that 3 searches detect on digits-rgb is unknown",
            "the sd between searches on digits-rgb is unknown",
        ),
    ],
)
def test_the_plan_says_why_it_cannot_tell_what_it_resolves(
    name: str, changes: dict[str, int], line: str, power: str
) -> None:
    spec = override(before(name), changes)
    assert f"verdict  {line}" in _lines(spec)
    look = "planned evaluation 1 of 3 on the test set, at the 1 % level"
    assert f"power    {look}; {power}" in describe_details(spec, make_plan(spec))


def test_what_a_worker_elsewhere_needs_is_a_line_each() -> None:
    spec = override(preset("tiny"), {"target.dataset": "/srv/mine.npz", "target.student": "my_student:build"})
    assert needed_elsewhere(spec) == [
        "a worker elsewhere needs module my_student on its PYTHONPATH",
        "a worker elsewhere needs /srv/mine.npz at the same path",
        "a worker elsewhere needs ImageNet weights of mobilenet (--weights DIR, or a download)",
    ]
    assert needed_elsewhere(override(preset("tiny"), {"baselines.methods": []})) == []

"""The names of what belongs to further teachers, searches and targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.distill.presets import preset
from sweeps.plan.phases import (
    groups,
    kept_student_key,
    search_of,
    tagged,
    teacher_of,
    teacher_phase,
    transfer_key,
    transfer_phase,
    untagged,
)
from sweeps.plan.plan import make_plan
from sweeps.spec.model import ROLES, override


def test_the_first_group_has_no_tag_and_every_other_one_names_teacher_and_search() -> None:
    assert list(groups(preset("tiny"))) == [""]
    assert list(groups(preset("quick"))) == ["", "t0s1", "t0s2", "t0s3", "t0s4"]
    several = override(preset("quick"), {"outer.teachers": 2, "outer.searches": 3})
    assert list(groups(several)) == ["", "t0s1", "t0s2", "t1s0", "t1s1", "t1s2"]
    assert list(map(teacher_of, groups(several))) == ["", "", "", "t1", "t1", "t1"]


@pytest.mark.parametrize(
    ("name", "group", "role", "expected"),
    [
        ("search", "", "source", "search"),
        ("native:search", "", "target", "native:search"),
        ("search", "t1s0", "source", "search@t1s0"),
        ("native.best", "", "target2", "native.best@target2"),
        ("native.best", "t1s0", "target2", "native.best@target2.t1s0"),
    ],
)
def test_a_name_has_the_tag_of_what_it_belongs_to(name: str, group: str, role: str, expected: str) -> None:
    assert tagged(name, group, role) == expected
    assert untagged(expected) == (name, expected.removeprefix(name))


@given(st.sampled_from(ROLES[1:]), st.integers(0, 12), st.integers(0, 12))
def test_no_two_searches_of_a_study_have_the_same_name(role: str, teacher: int, search: int) -> None:
    spec = override(preset("quick"), {"outer.teachers": teacher + 1, "outer.searches": search + 1})
    *_, last = groups(spec)
    names = [search_of(one, group) for one in ROLES[1:] for group in groups(spec)]
    assert len(set(names)) == len(names)
    assert names[0] == "", "trials of the first search carry no attribute"
    assert search_of(role, last).endswith(last)


def test_a_task_without_a_group_belongs_to_the_first_search() -> None:
    assert search_of("target", "") == search_of("source", "") == search_of(None, "") == ""
    assert search_of("source", "t1s0") == "@t1s0"


def test_the_searches_of_one_teacher_wait_for_the_same_phase() -> None:
    assert teacher_phase("source") == teacher_phase("source", "t0s2") == "teachers:source"
    assert teacher_phase("target2", "t1s0") == teacher_phase("target2", "t1") == "teachers:target2@t1"


def test_the_kept_student_is_a_task_of_every_plan() -> None:
    plan = make_plan(override(preset("quick"), {"outer.teachers": 2}))
    phases = {task.key: task.phase for task in plan.tasks}
    for role in ("source", "target"):
        assert phases[kept_student_key(role)] == transfer_phase(role)
    assert phases[transfer_key("target", "native", 3, "t1s0")] == transfer_phase("target", "t1s0")

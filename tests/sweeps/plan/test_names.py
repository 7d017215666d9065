"""The names of what belongs to further teachers, searches and targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.plan.names import group_of, groups, search_of, tagged, teacher_of, untagged
from sweeps.spec.model import ROLES, override
from sweeps.spec.presets import preset


def test_the_first_group_has_no_tag_and_every_other_one_names_teacher_and_search() -> None:
    assert list(groups(preset("quick"))) == [""]
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
    payloads = [{"role": one, "group": group} for one in ROLES[1:] for group in groups(spec)]
    names = [search_of(payload) for payload in payloads]
    assert len(set(names)) == len(names)
    assert names[0] == "", "trials of the first search carry no attribute"
    assert search_of({"role": role, "group": last}).endswith(last)


def test_a_task_without_a_group_belongs_to_the_first() -> None:
    assert group_of({"role": "target"}) == search_of({"role": "target"}) == search_of({}) == ""
    assert group_of({"group": "t1s0"}) == "t1s0"

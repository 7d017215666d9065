"""The names of what belongs to further teachers, searches and targets."""

from sweeps.distill.presets import preset
from sweeps.plan import phases
from sweeps.plan.plan import make_plan
from sweeps.spec.model import ROLES, override


def test_the_first_group_has_no_tag_and_every_other_one_names_teacher_and_search() -> None:
    assert list(phases.groups(preset("tiny"))) == [""]
    assert list(phases.groups(preset("quick"))) == ["", "t0s1", "t0s2", "t0s3", "t0s4"]
    several = override(preset("quick"), {"outer.teachers": 2, "outer.searches": 3})
    assert list(phases.groups(several)) == ["", "t0s1", "t0s2", "t1s0", "t1s1", "t1s2"]
    assert list(map(phases.teacher_of, phases.groups(several))) == ["", "", "", "t1", "t1", "t1"]


def test_a_name_has_the_tag_of_what_it_belongs_to() -> None:
    for name, group, role, expected in (
        ("search", "", "source", "search"),
        ("native:search", "", "target", "native:search"),
        ("search", "t1s0", "source", "search@t1s0"),
        ("native.best", "", "target2", "native.best@target2"),
        ("native.best", "t1s0", "target2", "native.best@target2.t1s0"),
    ):
        assert phases.tagged(name, group, role) == expected
        assert phases.untagged(expected) == (name, expected.removeprefix(name))


def test_no_two_searches_of_a_study_have_the_same_name() -> None:
    spec = override(preset("quick"), {"outer.teachers": 3, "outer.searches": 12})
    names = [phases.search_of(role, group) for role in ROLES[1:] for group in phases.groups(spec)]
    assert len(set(names)) == len(names)
    assert names[0] == phases.search_of("source", "") == phases.search_of(None, "") == "", "the first has no attribute"
    assert phases.search_of("source", "t1s0") == "@t1s0"


def test_the_searches_of_one_teacher_wait_for_the_same_phase() -> None:
    assert phases.teacher_phase("source") == phases.teacher_phase("source", "t0s2") == "teachers:source"
    assert phases.teacher_phase("target2", "t1s0") == phases.teacher_phase("target2", "t1") == "teachers:target2@t1"


def test_the_kept_student_is_a_task_of_every_plan() -> None:
    plan = make_plan(override(preset("quick"), {"outer.teachers": 2}))
    planned = {task.key: task.phase for task in plan.tasks}
    for role in ("source", "target"):
        assert planned[phases.kept_student_key(role)] == phases.transfer_phase(role)
    assert planned[phases.transfer_key("target", "native", 3, "t1s0")] == phases.transfer_phase("target", "t1s0")

"""The names of what belongs to further teachers, searches and targets."""

import json

from sweeps.plan.audit import as_then
from sweeps.plan.phases import Phase, kept_student_key, tag_of, transfer_key
from sweeps.plan.plan import make_plan
from sweeps.spec.model import ROLES, Spec, override, parse
from sweeps.spec.tables import Group
from tests.support.old_storages import DATA
from tests.support.sweeps.presets import before

SECOND = Group(prepared=1)  # the second teacher's first search


def test_the_first_group_has_no_tag_and_every_other_one_names_teacher_and_search() -> None:
    def tags(spec: Spec) -> list[str]:
        return [group.tag for group in spec.groups]

    assert tags(before("tiny")) == [""]
    assert tags(before("quick")) == ["", "t0s1", "t0s2", "t0s3", "t0s4"]
    several = override(before("quick"), {"outer.teachers": 2, "outer.searches": 3})
    assert tags(several) == ["", "t0s1", "t0s2", "t1s0", "t1s1", "t1s2"]
    assert [group.preparation for group in several.groups] == ["", "", "", "t1", "t1", "t1"]
    assert [Group.parse(group.tag) for group in several.groups] == list(several.groups)


def test_a_name_has_the_tag_of_what_it_belongs_to() -> None:
    for phase, name, selection in (
        (Phase.search("source"), "search", "search.ranks"),
        (Phase.search("target"), "native:search", "native.ranks"),
        (Phase.search("source", SECOND), "search@t1s0", "search.ranks@t1s0"),
        (Phase.confirm("target2"), "native:confirm@target2", "native.best@target2"),
        (Phase.confirm("target2", SECOND), "native:confirm@target2.t1s0", "native.best@target2.t1s0"),
        (Phase.confirm("source", round=2), "confirm:2", "confirm.ranks:2"),
        (
            Phase.confirm("target3", SECOND, round=1),
            "native:confirm:1@target3.t1s0",
            "native.confirm.ranks:1@target3.t1s0",
        ),
    ):
        assert (phase.name, phase.selection) == (name, selection)
        assert Phase.parse(name) == Phase.of_selection(selection) == phase


def test_the_names_of_every_plan_are_parsed_as_they_were_written() -> None:
    """Of whatever was ever stored: a name that is parsed otherwise would be another search's."""
    selecting = set()
    for made in json.loads((DATA / "plans.json").read_text()):
        spec = parse(made["spec"], origin=made["commit"])
        whole = make_plan(spec)
        for plan in (whole, as_then(whole, spec, made["spec"])):
            phases = {planned.name: Phase.parse(planned.name) for planned in plan.phases}
            for planned in plan.phases:
                phase = phases[planned.name]
                assert (phase.name, phase.stage) == (planned.name, planned.stage)
                if phase.is_search or "confirm" in phase.kind:
                    assert Phase.of_selection(phase.selection) == phase
                    selecting.add(phase)
            for task in plan.tasks:
                phase, payload = phases[task.phase], task.payload
                assert task.key.startswith(f"{phase.prefix}#") or phase.kind == "teachers"
                assert phase.role in ("", payload.get("role"))
                assert phase.kind in ("baselines", "measure", "teachers") or phase.group.tag == payload.get("group", "")
    assert {phase.role for phase in selecting} == {"source", "target", "target2"}
    assert {phase.group.prepared for phase in selecting} > {0}
    assert {phase.round for phase in selecting} > {0}


def test_no_two_searches_of_a_study_have_the_same_name() -> None:
    spec = override(before("quick"), {"outer.teachers": 3, "outer.searches": 12})
    names = [tag_of(role, group.tag) for role in ROLES[1:] for group in spec.groups]
    assert len(set(names)) == len(names)
    assert names[0] == tag_of("source", "") == tag_of("", "") == "", "the first has no attribute"
    assert tag_of("source", "t1s0") == "@t1s0"


def test_the_searches_of_one_teacher_wait_for_the_same_phase() -> None:
    assert Phase.teachers("source") == Phase.teachers("source", Group(search=2))
    assert Phase.teachers("source").name == "teachers:source"
    assert Phase.teachers("target2", SECOND) == Phase.teachers("target2", Group(prepared=1, search=2))
    assert Phase.teachers("target2", SECOND).name == "teachers:target2@t1"


def test_the_kept_student_is_a_task_of_every_plan() -> None:
    plan = make_plan(override(before("quick"), {"outer.teachers": 2}))
    planned = {task.key: task.phase for task in plan.tasks}
    for role in ("source", "target"):
        assert planned[kept_student_key(role)] == Phase.transfer(role).name
    assert planned[transfer_key("target", "native", 3, SECOND)] == Phase.transfer("target", SECOND).name

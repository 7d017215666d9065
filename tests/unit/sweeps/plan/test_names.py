"""The names of phases and tasks of further teachers, searches and targets."""

import json

from sweeps.plan.audit import as_then
from sweeps.plan.phases import Phase, kept_student_key, tag_of, transfer_key
from sweeps.plan.plan import make_plan
from sweeps.spec.model import ROLES, override, parse
from sweeps.spec.tables import Group
from tests.support.old_storages import DATA
from tests.support.sweeps.presets import before

SECOND = Group(prepared=1)  # the second teacher's first search


def test_the_names_of_every_stored_plan_are_parsed_back_unchanged() -> None:
    """Checked for every plan ever stored: a name parsed differently would belong to another search."""
    selecting = set()
    for entry in json.loads((DATA / "plans.json").read_text()):
        spec = parse(entry["spec"], origin=entry["commit"])
        whole = make_plan(spec)
        for plan in (whole, as_then(whole, spec, entry["spec"])):
            phases = {planned.name: Phase.parse(planned.name) for planned in plan.phases}
            for planned in plan.phases:
                phase = phases[planned.name]
                assert (phase.name, phase.stage) == (planned.name, planned.stage)
                if phase.is_search or "confirm" in phase.kind or phase.kind == "recipes":
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
    assert names[0] == tag_of("source", "") == tag_of("", "") == "", "the first search has no tag"
    assert tag_of("source", "t1s0") == "@t1s0"


def test_the_kept_student_is_a_task_of_every_plan() -> None:
    plan = make_plan(override(before("quick"), {"outer.teachers": 2}))
    phases = {task.key: task.phase for task in plan.tasks}
    for role in ("source", "target"):
        assert phases[kept_student_key(role)] == Phase.transfer(role).name
    assert phases[transfer_key("target", "native", 3, SECOND)] == Phase.transfer("target", SECOND).name

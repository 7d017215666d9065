"""The phases of a plan: what each one waits for, and what it needs of that."""

from storage.queue.phases import StartLag
from sweeps.distill.presets import on, preset
from sweeps.plan.plan import make_plan
from sweeps.spec.model import Spec, override

ONE = override(preset("quick"), {"search.trials": 20, "search.sampler": "tpe", "confirm.rounds": [[3, 3]], "outer": {}})
SEVERAL = override(ONE, {"outer.teachers": 2, "outer.searches": 2})


def needs_of(spec: Spec) -> dict[str, tuple[str, ...]]:
    """The needs of each phase, as stored: with a question mark where any end will do."""
    return {phase.name: tuple(need.stored() for need in phase.needs) for phase in make_plan(spec).phases}


def test_a_round_of_confirm_needs_the_one_before_and_shares_its_new_seeds() -> None:
    spec = override(ONE, {"confirm.rounds": [[6, 1], [3, 2], [2, 2]]})
    needs = needs_of(spec)
    assert [needs[name] for name in ("confirm:1", "confirm:2", "confirm")] == [
        ("search",),
        ("confirm:1",),
        ("confirm:2",),
    ]
    tasks = [task for task in make_plan(spec).tasks if task.phase in ("confirm:1", "confirm:2", "confirm")]
    assert [task.payload["ranks"] for task in tasks[::6]] == ["search.ranks", "confirm.ranks:1", "confirm.ranks:2"]
    assert [(task.payload["rank"], task.payload["repeat"]) for task in tasks[6:]] == [
        (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2), (0, 3), (1, 3), (0, 4), (1, 4),
    ]  # fmt: skip
    assert len({task.payload["seed"] for task in tasks}) == 5
    assert {task.priority for task in tasks} == {70}


def test_only_what_is_proposed_has_a_lag() -> None:
    def lag(**changes: object) -> object:
        plan = make_plan(override(ONE, {f"search.{key}": value for key, value in changes.items()}))
        return next(phase.lag for phase in plan.phases if phase.name == "search")

    assert lag(sampler="tpe", lag=3) == StartLag(3, first=10)
    assert lag(sampler="random", lag=3) == StartLag(3, first=0)
    assert lag(sampler="qmc") is None


def test_all_searches_of_a_teacher_wait_for_it_and_for_no_other_one() -> None:
    needs = needs_of(SEVERAL)
    assert needs["search"] == needs["search@t0s1"] == ("teachers:source",)
    assert needs["search@t1s0"] == needs["search@t1s1"] == ("teachers:source@t1",)
    assert needs["native:search@t1s1"] == ("teachers:target@t1",)
    assert {f"{name}?" for name in needs} - {"measure?"} == set(needs["measure"])


def test_no_test_is_read_before_every_selection_of_every_group_is_frozen() -> None:
    needs = needs_of(SEVERAL)
    selections = {f"{phase}{tag}" for phase in ("confirm", "native:confirm") for tag in ("", "@t0s1", "@t1s0", "@t1s1")}
    read = {name: set(found) for name, found in needs.items() if name.startswith("transfer")}
    assert len(read) == 2 + 3
    for name, found in read.items():
        assert {need.removesuffix("?") for need in found} == selections, name
    # One that failed hinders its own group alone.
    assert {need for need in read["transfer:target@t1s1"] if not need.endswith("?")} == {
        "confirm@t1s1",
        "native:confirm@t1s1",
    }
    assert {need for need in read["transfer:source"] if not need.endswith("?")} == {"confirm"}


def test_a_selection_that_failed_hinders_its_own_target_alone() -> None:
    needs = needs_of(on(ONE, targets=["cifar10", "digits-rgb"]))
    assert needs["native:search@target2"] == ("teachers:target2",)
    assert needs["transfer:source"] == ("confirm", "native:confirm?", "native:confirm@target2?")
    assert needs["transfer:target2"] == ("confirm", "native:confirm?", "native:confirm@target2")


def test_the_network_of_autokeras_is_waited_for_where_it_is_an_arm() -> None:
    spec = override(SEVERAL, {"transfer.target_arms": ["best", "native", "autokeras"]})
    waiting = {name for name, needs in needs_of(spec).items() if "baselines?" in needs}
    assert waiting == {"transfer:target", "measure"}, "no further group trains it"
